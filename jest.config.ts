/** @jest-config-loader esbuild-register */
import type { Config } from 'jest';

const config: Config = {
  testEnvironment: 'node',
  // Far more than any test needs, because the machine may be busy. It is more than the helper `until` waits.
  testTimeout: 180_000,
  maxWorkers: '100%',
  testSequencer: '<rootDir>/scripts/longest-first.cjs',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  transform: { '^.+\\.ts$': ['ts-jest', { tsconfig: '<rootDir>/tsconfig.json' }] },
  moduleNameMapper: {
    // Sources name the compiled files in their imports.
    '^(\\.{1,2}/.*)\\.js$': '$1',
    '^routing-controllers-sessions$': '<rootDir>/src/index.ts',
    '^routing-controllers-sessions/(koa|openapi|telemetry|testing)$': '<rootDir>/src/$1/index.ts',
    '^routing-controllers-sessions/(\\w+)$': '<rootDir>/src/backends/$1/backend.ts',
  },
  // For scripts/no-tokens-in-output.mjs, which searches the output for tokens.
  setupFilesAfterEnv: process.env['RCS_TOKEN_LOG'] ? ['<rootDir>/test/support/record-tokens.ts'] : [],
  collectCoverageFrom: ['src/**/*.ts'],
  coverageProvider: 'v8',
};

export default config;
