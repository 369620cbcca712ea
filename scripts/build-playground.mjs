// Compiles the library and the playground; a second run compiles only what has changed.
import { compileWith } from './run.mjs';

console.log('Compiling the library and the playground …');
process.exitCode = compileWith('playground/tsconfig.json');
