// Compiles the library and the playground; a second run compiles only what has changed.
import { runTool } from './run.mjs';

console.log('Compiling the library and the playground …');
process.exitCode = runTool('tsc', ['-b', 'tsconfig.build.json', 'playground/tsconfig.json']);
