/** What one party of a race waits for, and another one does. */
export class Gate {
  open = (): void => undefined;
  readonly opened = new Promise<void>(resolve => (this.open = resolve));
}
