/**
 * For `refetchInterval`: how soon to ask again, once there is something. Until then nothing is polled, since asking
 * again hides the error that is shown, and the button beside it.
 */
export function polled<T>(interval: (data: T) => number | false) {
  return ({ state: { data } }: { state: { data: T | undefined } }): number | false =>
    data === undefined ? false : interval(data);
}
