import { open } from 'lmdb';

/** Told by its parent: the folder of an LMDB database. Keeps a snapshot of it open until the process ends. */
const database = open({ path: process.argv[2] ?? '', noSubdir: false });
database.resetReadTxn();
database.useReadTransaction();
process.send?.('held');
setInterval(() => undefined, 1_000);
