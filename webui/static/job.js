// A job's page: its progress, asked for every second; the server answers 304 while there is no news.

import { showCharts } from './charts.js';
import { refresh } from './morph.js';
import { repeat } from './repeat.js';

// The parts that change while the job runs: of the examples their accuracy alone, because somebody
// may be reading the list.
const LIVE = ['#status', '#shards', '#log', '#heads', '#completeness', '#example-accuracy'];

showCharts();

const status = document.getElementById('status');
if (status && status.dataset.final !== 'true') follow(status);

function follow(element) {
  const title = document.title;
  let seen = '';
  let renewed = performance.now();
  let version = '';
  let stale = false;
  let final = false;

  const show = (news) => {
    final = news.final;
    for (const [name, text] of Object.entries(news.text)) {
      const place = element.querySelector(`[data-live="${name}"]`);
      if (place && name !== 'state' && place.textContent !== text) place.textContent = text;
    }
    const clock = element.querySelector('[data-running]');
    if (clock) clock.dataset.running = news.elapsed_seconds;
    const bar = element.querySelector('[data-live-bar]');
    if (bar) {
      bar.max = news.examples || 1;
      bar.value = news.examples_computed;
    }
    // A page that only waits goes on to the result.
    if (element.dataset.then && (final || news.examples_done > 0)) {
      location.replace(element.dataset.then);
      return;
    }
    document.title = final ? title : `${news.text.share} ${title}`;
    // The tables follow at once when a shard or the job changes state, else within ten seconds.
    const now = JSON.stringify([news.status, news.state, news.control, news.shards, news.plan_tries]);
    stale = true;
    if (seen && now !== seen) renew();
    seen = now;
  };

  // The first results and the last ones change the whole page; in between its live parts do.
  const renew = async () => {
    renewed = performance.now();
    stale = false;
    const whole = final || !document.getElementById('heads');
    const parts = whole ? ['#main'] : LIVE.filter((one) => document.querySelector(one));
    try {
      await refresh(location.href, parts.join(','));
    } catch {
      stale = true;
    }
  };

  const ask = async () => {
    const response = await fetch(element.dataset.poll, { headers: version ? { 'If-None-Match': version } : {} });
    if (response.ok) {
      version = response.headers.get('ETag');
      show(await response.json());
    }
    if (stale && performance.now() - renewed > 10_000) renew();
    return response.ok || response.status === 304;
  };

  ask().catch(() => {});
  // A hidden page is followed too, for the percentage in its tab's title.
  repeat(ask, () => (final ? 0 : document.hidden ? 5 : 1));
}
