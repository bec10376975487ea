// The least a gateway on this runtime can do: the same request to the mock, and its answer back.
// What Hypergate adds is measured from here.
export default {
  fetch(request, env) {
    return fetch(env.UPSTREAM, { method: request.method, headers: request.headers, body: request.body });
  },
};
