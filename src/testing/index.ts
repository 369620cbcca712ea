export { describeSessionBackend, type DescribeSessionBackendOptions } from './describe-session-backend.js';
export { openInProcess, serveSessionBackends } from './remote-backend.js';
export { signIn } from './sign-in.js';
