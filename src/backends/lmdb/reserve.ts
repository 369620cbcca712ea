import path from 'node:path';
import { giveUpReserveFile, keepReserveFile } from '../reserve.js';

/**
 * Bytes. LMDB writes copies of pages before it can use the old ones again, so that even a removal needs room: for a batch of 100
 * records, and a page of each index for each of them.
 */
const SIZE = 2 * 1024 * 1024;

const fileIn = (folder: string): string => path.join(folder, 'reserve');

/** Makes the file whose room is given up when the disk is full and sessions are to be removed. */
export function keepReserve(folder: string): void {
  keepReserveFile(fileIn(folder), SIZE);
}

/** Gives the room up. `false`: there was none. */
export function giveUpReserve(folder: string): boolean {
  return giveUpReserveFile(fileIn(folder));
}
