/** Holds the slow request between its read and its write until the scenario releases it. */
export function makeGate() {
  const gate = { entered: false, release: () => undefined };
  gate.pass = () =>
    new Promise(resolve => {
      gate.entered = true;
      gate.release = () => {
        gate.entered = false;
        resolve();
      };
    });
  return gate;
}

/** The work of an action between reading a session and writing it: a short wait. */
export function workABit() {
  return new Promise(resolve => setTimeout(resolve, 2));
}
