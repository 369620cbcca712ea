// The example's own test, which its reader copies.
import '../../examples/backend/level-backend.test.js';
