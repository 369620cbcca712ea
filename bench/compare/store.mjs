// The store of every peer that has one. It answers after a turn of the event loop, as an engine would, expires nothing by
// itself, and fails on request.
export class Store {
  entries = new Map();
  /** `read`, `write` or `none` */
  failing = 'none';

  async get(key) {
    await this.turn('read');
    const text = this.entries.get(key);
    return text === undefined ? undefined : JSON.parse(text);
  }

  async set(key, value) {
    const text = JSON.stringify(value);
    await this.turn('write');
    this.entries.set(key, text);
  }

  async delete(key) {
    await this.turn('write');
    this.entries.delete(key);
  }

  dump() {
    return [...this.entries].flat().join('\n');
  }

  async turn(kind) {
    await new Promise(resolve => setImmediate(resolve));
    if (this.failing === kind) throw new Error('the store is down');
  }
}
