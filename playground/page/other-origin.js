document.querySelector('form').addEventListener('submit', () => {
  document.getElementById('sent').textContent = 'Sent, with your cookie. We do not get to see the answer.';
  parent.postMessage('sent', document.body.dataset.playground);
});
