/** @jest-config-loader esbuild-register */
import type { Config } from 'jest';

const config: Config = {
  testEnvironment: 'node',
  // For a busy machine: no test is about how fast it is.
  testTimeout: 60_000,
  maxWorkers: '100%',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  transform: { '^.+\\.ts$': ['ts-jest', { tsconfig: '<rootDir>/tsconfig.json' }] },
  moduleNameMapper: {
    // Sources import each other as what they are compiled to.
    '^(\\.{1,2}/.*)\\.js$': '$1',
    '^routing-controllers-sessions$': '<rootDir>/src/index.ts',
    '^routing-controllers-sessions/(koa|openapi|testing)$': '<rootDir>/src/$1/index.ts',
    '^routing-controllers-sessions/(\\w+)$': '<rootDir>/src/backends/$1/backend.ts',
  },
  // Only in a run whose output is searched for tokens: scripts/no-tokens-in-output.mjs.
  setupFilesAfterEnv: process.env['RCS_TOKEN_LOG'] ? ['<rootDir>/test/support/record-tokens.ts'] : [],
  collectCoverageFrom: ['src/**/*.ts'],
  coverageProvider: 'v8',
};

export default config;
