import request from 'supertest';

import { createOtherOrigin } from '../../playground/other-origin.js';

describe('the other origin', () => {
  const app = () => createOtherOrigin(() => 3000).callback();

  test('has a form that posts to the playground, and is framed by it alone', async () => {
    const { text, headers } = await request(app()).get('/').expect(200).expect('Content-Type', /html/);
    expect(text).toContain('action="http://127.0.0.1:3000/apples"');
    const policy = headers['content-security-policy'];
    expect(policy).toContain('form-action http://127.0.0.1:3000;');
    expect(policy).toMatch(/frame-ancestors http:\/\/127\.0\.0\.1:3000$/);
    expect(text).not.toContain('{{');
  });

  test('does not repeat a Host header that is no host name', async () => {
    const { text, headers } = await request(app()).get('/').set('Host', 'x"><script>');
    expect(text).not.toContain('"><script>');
    expect(headers['content-security-policy']).toContain('form-action http://127.0.0.1:3000;');
  });

  test.each(['/other-origin.css', '/other-origin.js'])('serves %s', url => request(app()).get(url).expect(200));

  test('serves nothing else', () => request(app()).get('/index.html').expect(404));
});
