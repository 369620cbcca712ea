// "Try it out" sends the cookie of this browser by itself: the document is served by the API that it describes.
SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  // Else the document would be sent to a validator on the internet.
  validatorUrl: null,
});
