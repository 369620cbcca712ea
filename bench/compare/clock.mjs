// Makes every "now" of this process one that the scenarios can move. Imported before anything else.
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
