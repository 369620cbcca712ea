/** Holds the slow request between its read and its write, until the scenario lets it go on. */
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

/** What an action does between reading a session and writing it: one turn of something else. */
export function workABit() {
  return new Promise(resolve => setTimeout(resolve, 2));
}
