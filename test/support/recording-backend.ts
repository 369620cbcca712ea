import { InMemoryBackend, type SessionRecord } from 'routing-controllers-sessions';

/** The backend of the library itself, with a list of the calls that reached it. */
export class RecordingBackend extends InMemoryBackend {
  readonly calls: string[] = [];

  count(operation: string): number {
    return this.calls.filter(call => call === operation).length;
  }

  override create(record: SessionRecord) {
    this.calls.push('create');
    return super.create(record);
  }

  override read(id: string) {
    this.calls.push('read');
    return super.read(id);
  }

  override update(record: SessionRecord, expectedVersion: number) {
    this.calls.push('update');
    return super.update(record, expectedVersion);
  }

  override touch(id: string, lastSeenAt: number, expiresAt: number) {
    this.calls.push('touch');
    return super.touch(id, lastSeenAt, expiresAt);
  }

  override delete(id: string) {
    this.calls.push('delete');
    return super.delete(id);
  }
}
