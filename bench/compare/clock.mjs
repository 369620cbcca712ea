// Replaces the clock of this process with one that scenarios can move. Must be the first import.
const RealDate = Date;
let offset = 0;

globalThis.Date = class extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) super(RealDate.now() + offset);
    else super(...parts);
  }
  static now() {
    return RealDate.now() + offset;
  }
};

export function advance(seconds) {
  offset += seconds * 1000;
}
