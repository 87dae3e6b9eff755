// A job's page: live progress by server-sent events, by polling where they do not come through.

import { showCharts } from './charts.js';
import { refresh } from './morph.js';

showCharts();

const status = document.getElementById('status');
if (status && status.dataset.final !== 'true') follow(status);

function follow(element) {
  const title = document.title;
  let seen = '';
  let renewed = performance.now();
  let polling;

  const show = (news) => {
    for (const [name, text] of Object.entries(news.text)) {
      const place = element.querySelector(`[data-live="${name}"]`);
      if (place && name !== 'state' && place.textContent !== text) place.textContent = text;
    }
    const bar = element.querySelector('[data-live-bar]');
    if (bar) {
      bar.max = news.examples || 1;
      bar.value = news.examples_computed;
    }
    // A page that only waits goes on to the result.
    if (element.dataset.then && (news.final || news.examples_done > 0)) {
      location.replace(element.dataset.then);
      return;
    }
    document.title = news.final ? title : `${news.text.share} ${title}`;
    // The tables follow at once when a shard or the job changes state, else every ten seconds.
    const now = JSON.stringify([news.state, news.control, news.shards, news.plan_tries]);
    if (seen && (now !== seen || performance.now() - renewed > 10_000)) renew(news.final);
    seen = now;
  };

  // The first results and the last ones change the whole page; in between its live parts do.
  const renew = async (final) => {
    renewed = performance.now();
    const whole = final || !document.getElementById('heads');
    try {
      await refresh(location.href, whole ? '#main' : '#status,#shards,#log,#heads,#completeness');
    } catch {
      // The next event tries again.
    }
  };

  const poll = () => {
    polling ??= setInterval(async () => {
      if (document.hidden) return;
      try {
        const response = await fetch(element.dataset.poll);
        if (!response.ok) return;
        const news = await response.json();
        show(news);
        if (news.final) clearInterval(polling);
      } catch {
        // Offline or restarting: the next round tries again.
      }
    }, 2000);
  };

  const source = new EventSource(element.dataset.events);
  source.addEventListener('progress', (event) => show(JSON.parse(event.data)));
  source.addEventListener('end', () => source.close());
  source.addEventListener('error', () => {
    if (source.readyState === EventSource.CLOSED) poll();
  });
  addEventListener('pagehide', () => source.close());
}
