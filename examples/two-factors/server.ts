import { randomBytes } from 'node:crypto';

import { InMemoryBackend } from 'routing-controllers-sessions';

import { Accounts } from '../passwords/accounts.js';
import { MemoryCounters, Throttle } from '../passwords/throttle.js';
import { createApp } from './app.js';
import { OneTimeCodes } from './one-time-codes.js';
import { OtpTable } from './otp-table.js';

const { PORT = '3000' } = process.env;

async function start(): Promise<void> {
  const accounts = new Accounts();
  await accounts.add('ada', 'correct horse battery');
  createApp({
    secretKey: randomBytes(32).toString('base64url'),
    backend: new InMemoryBackend(),
    accounts,
    throttle: new Throttle(new MemoryCounters()),
    codes: new OneTimeCodes(new OtpTable()),
  }).listen(Number(PORT), () => {
    console.log(`http://localhost:${PORT}, with an account for ada, whose password is "correct horse battery"`);
  });
}

void start();
