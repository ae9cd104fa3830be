// A page's path is not a file's: whoever wants HTML gets the page that knows what to show there.
// What has a dot in its last part is a file, and missing where there is none.
function handler(event) {
  var request = event.request;
  var accept = request.headers.accept;
  var last = request.uri.substring(request.uri.lastIndexOf('/') + 1);
  if (last === '' || (last.indexOf('.') === -1 && accept && accept.value.indexOf('text/html') !== -1)) {
    request.uri = '/index.html';
  }
  return request;
}
