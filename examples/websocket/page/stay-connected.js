/** The session is over: do not connect again. Every other code, and a lost network, may pass. */
const SESSION_OVER = 4401;

const SHORTEST = 500;
const LONGEST = 30_000;

/**
 * Keeps a socket open as long as there is a session. After a lost connection it connects again, each time later.
 *
 * @param isLoggedIn resolves to `false` only if the server said so
 * @returns what sends a message, if the connection is open
 */
export function stayConnected(url, { onMessage, onOver, isLoggedIn }) {
  let delay = SHORTEST;
  let socket;

  function connect() {
    socket = new WebSocket(url);
    socket.addEventListener('open', () => (delay = SHORTEST));
    socket.addEventListener('message', ({ data }) => onMessage(JSON.parse(data)));
    socket.addEventListener('close', ({ code }) => (code === SESSION_OVER ? onOver() : waitAndConnect()));
  }

  function waitAndConnect() {
    // At random, so that not all pages come back in the same second.
    setTimeout(connectIfLoggedIn, delay * (0.5 + Math.random() / 2));
    delay = Math.min(2 * delay, LONGEST);
  }

  /** Browsers do not tell a page with which status its handshake was refused: it looks like a lost network. So ask by HTTP. */
  async function connectIfLoggedIn() {
    if (await isLoggedIn().catch(() => true)) connect();
    else onOver();
  }

  connect();
  return message => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };
}
