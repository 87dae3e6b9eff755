// What pages do again and again while they are open.

/** Call `step` every `seconds()` until that is 0; up to 15 times as seldom while it fails. */
export function repeat(step, seconds) {
  let failures = 0;
  const next = () => {
    const pause = seconds();
    if (pause) setTimeout(run, pause * 1000 * Math.min(15, 2 ** failures));
  };
  const run = async () => {
    try {
      failures = (await step()) ? 0 : failures + 1;
    } catch {
      failures += 1; // offline, or the server is being restarted
    }
    next();
  };
  next();
}

const UNITS = [[86_400, 'd', 3_600, 'h'], [3_600, 'h', 60, 'min'], [60, 'min', 1, 's']];

/** Seconds in the two largest units that fit, as the server writes them. */
export function duration(seconds) {
  if (seconds <= 0) return '0 s';
  if (seconds < 0.001) return '<1 ms';
  if (seconds < 0.95) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [size, unit, smaller, name] = UNITS.find(([least]) => whole >= least) ?? [1, 's', 1, ''];
  const rest = Math.floor((whole % size) / smaller);
  return `${Math.floor(whole / size).toLocaleString('en')} ${unit}${rest ? ` ${rest} ${name}` : ''}`;
}
