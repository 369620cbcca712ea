const { security, responses } = (openApiDocument().paths as any)['/me'].get;
assert.deepEqual(security, [{ SessionCookie: [] }]);
assert.ok('403' in responses && '503' in responses);
const { components } = openApiDocument() as any;
assert.deepEqual(components.securitySchemes, { SessionCookie: { type: 'apiKey', in: 'cookie', name: 'session' } });
console.log('proved');
