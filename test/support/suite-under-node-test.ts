import { describe, it } from 'node:test';
import { InMemoryBackend } from '../../src/backends/memory/backend.js';
import { describeSessionBackend } from '../../src/testing/describe-session-backend.js';

Object.assign(globalThis, { describe, it });
describeSessionBackend('InMemoryBackend', () => new InMemoryBackend());
