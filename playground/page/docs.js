// Swagger UI has its dark scheme behind a class.
const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', follow);
follow();

/**
 * Words in place of locks. A browser sends its cookie by itself and lets no script set one, so that "Authorize" could do
 * nothing; and a route whose session is optional counts as authorized, so that it alone would have a closed lock.
 */
const SessionWords = ({ React }) => ({
  wrapComponents: {
    authorizeBtn: () => () => null,
    authorizeOperationBtn:
      () =>
      ({ isAuthorized }) =>
        React.createElement('span', { className: 'needs' }, isAuthorized ? 'session optional' : 'needs a session'),
  },
});

// "Try it out" sends the cookie of this browser by itself: the document is served by the API that it describes.
SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  plugins: [SessionWords],
  // Else the document would be sent to a validator on the internet.
  validatorUrl: null,
});
