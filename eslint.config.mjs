import { existsSync } from 'node:fs';

import tseslint from 'typescript-eslint';

// The benchmark has packages of its own. Where they were not installed (npm ci --prefix bench), it cannot be checked.
const bench = existsSync(new URL('bench/node_modules', import.meta.url)) ? [] : ['bench'];

export default tseslint.config(
  {
    ignores: [
      'docs/preludes',
      'docs/proofs',
      'dist',
      'build',
      'coverage',
      '**/node_modules',
      '**/*.mjs',
      '**/*.cjs',
      '**/*.js',
      ...bench,
    ],
  },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // Left off on purpose: with emitDecoratorMetadata an injected class that is imported as a type compiles, then fails at run time.
      '@typescript-eslint/consistent-type-imports': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      // A class is taken by its identity here, as in routing-controllers and class-validator, whose word for it this is.
      '@typescript-eslint/no-unsafe-function-type': 'off',
      // `change` may change what it gets or return what is to be there instead: void is one of its answers.
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true, varsIgnorePattern: '^_' }],
      '@typescript-eslint/explicit-module-boundary-types': 'error',
    },
  },
  {
    // Controllers in tests answer from methods that need no `this` and hand on whatever a response body held.
    files: ['test/**/*.ts', 'bench/**/*.ts', 'docs/**/*.ts', 'playground/**/*.ts', 'examples/**/*.ts'],
    rules: {
      '@typescript-eslint/no-extraneous-class': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      // Session data is given as a literal, as applications do.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/explicit-module-boundary-types': 'off',
    },
  },
);
