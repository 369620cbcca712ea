export { describeSessionBackend, type DescribeSessionBackendOptions } from './describe-session-backend.js';
export { connectSessionBackend, serveSessionBackend } from './remote-backend.js';
export { signIn } from './sign-in.js';
