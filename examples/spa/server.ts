import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

import { createApp } from './app.js';

const API_PORT = 3000;
const PAGE_PORT = 5173;

/** Stands for the server of the page: Vite's, or any server of static files. */
const FILES: Record<string, readonly [file: string, type: string]> = {
  '/': ['page/index.html', 'text/html; charset=utf-8'],
  '/page.js': ['page/page.js', 'text/javascript; charset=utf-8'],
};

const pageOrigin = `http://localhost:${PAGE_PORT}`;
createApp({ secretKey: randomBytes(32).toString('base64url'), pageOrigin }).listen(API_PORT);
createServer(({ url = '' }, response) => {
  const found = FILES[url];
  if (!found) response.writeHead(404).end();
  else response.writeHead(200, { 'Content-Type': found[1] }).end(readFileSync(found[0]));
}).listen(PAGE_PORT, () => {
  console.log(`the page: ${pageOrigin}, its API: http://localhost:${API_PORT}`);
});
