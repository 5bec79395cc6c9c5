'use strict';
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Dark or light: the system's, until the button is used.
  const theme = document.getElementById('theme');
  const systemIsDark = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (root.dataset.theme || (systemIsDark.matches ? 'dark' : 'light')) === 'dark';
  const remembered = (() => {
    // A page that is opened from the disk may have no storage.
    try { return localStorage.getItem('adamae-theme'); } catch { return null; }
  })();
  if (remembered === 'dark' || remembered === 'light') root.dataset.theme = remembered;
  const nameTheme = () => {
    theme.textContent = isDark() ? 'Light' : 'Dark';
    theme.setAttribute('aria-label', `switch to ${isDark() ? 'light' : 'dark'} colors`);
  };
  theme.hidden = false;
  theme.addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    try { localStorage.setItem('adamae-theme', root.dataset.theme); } catch { /* for this time only */ }
    nameTheme();
  });
  systemIsDark.addEventListener('change', nameTheme);
  nameTheme();

  // Values of curves, under the pointer or by the arrow keys.
  for (const svg of all('svg[data-values]')) {
    const values = svg.dataset.values.split(' ').map((pair) => pair.split(':'));
    const places = svg.dataset.places.split(' ').map((pair) => pair.split(',').map(Number));
    const readout = svg.parentElement.querySelector('.readout');
    const box = svg.viewBox.baseVal;
    const cursor = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    cursor.setAttribute('class', 'cursor');
    svg.append(cursor);
    let at = places.length - 1;
    const show = (index) => {
      at = Math.max(0, Math.min(places.length - 1, index));
      cursor.setAttribute('d', `M${places[at][0]} 12V${box.height - 34}`);
      readout.textContent = `${Number(values[at][1]).toPrecision(5)} at ${Number(values[at][0]).toLocaleString('en')}`;
    };
    const hide = () => { cursor.removeAttribute('d'); readout.textContent = ''; };
    svg.addEventListener('pointermove', (event) => {
      const frame = svg.getBoundingClientRect();
      const x = (event.clientX - frame.left) / frame.width * box.width;
      let nearest = 0;
      places.forEach((place, i) => {
        if (Math.abs(place[0] - x) < Math.abs(places[nearest][0] - x)) nearest = i;
      });
      show(nearest);
    });
    svg.addEventListener('pointerleave', hide);
    svg.addEventListener('focus', () => show(at));
    svg.addEventListener('blur', hide);
    svg.addEventListener('keydown', (event) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: places.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      show(to);
    });
  }

  // Pictures of the training: one epoch at a time.
  for (const article of all('.sheets')) {
    const figures = all('figure', article);
    const slider = article.querySelector('input');
    if (!slider) continue;
    article.querySelector('.controls').hidden = false;
    for (const caption of all('figcaption', article)) caption.hidden = true; // as above the slider
    const show = () => {
      figures.forEach((figure, i) => { figure.hidden = i !== Number(slider.value); });
      article.querySelector('output').textContent = figures[slider.value].dataset.name;
    };
    slider.addEventListener('input', show);
    show();
  }
  for (const link of all('.zoom')) {
    link.setAttribute('aria-label', 'picture: switch between the width of the page and its own size');
    link.addEventListener('click', (event) => {
      event.preventDefault();
      link.parentElement.classList.toggle('zoomed');
    });
  }

  // Clips: pictures with all frames side by side, drawn frame by frame.
  const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const load = (uri) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error('a picture of this page cannot be read'));
    image.src = uri;
  });
  const start = async (article) => {
    const data = JSON.parse(article.querySelector('script').textContent);
    const numbers = JSON.parse(article.dataset.frames);
    const [width, height] = [Number(article.dataset.width), Number(article.dataset.height)];
    const find = (name) => article.querySelector(`.${name}`);
    const [stage, play, frame, checkpoint] = ['stage', 'play', 'frame', 'checkpoint'].map(find);
    const video = await load(data.video);
    const steps = await Promise.all(data.checkpoints.map(async (step) => ({
      ...step,
      images: await Promise.all(step.layers.map((layer) => load(layer.uri))),
    })));
    const panels = ['video', ...data.checkpoints[0].layers.map((layer) => layer.name)].map((name) => {
      const figure = document.createElement('figure');
      const caption = document.createElement('figcaption');
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [width, height];
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', name);
      figure.append(caption, canvas);
      stage.append(figure);
      caption.textContent = name;
      return { caption, context: canvas.getContext('2d') };
    });
    const draw = () => {
      const step = steps[checkpoint ? checkpoint.value : 0];
      const at = Number(frame.value);
      [video, ...step.images].forEach((image, i) => {
        panels[i].context.drawImage(image, at * image.width / numbers.length, 0, image.width / numbers.length, image.height, 0, 0, width, height);
        if (i) panels[i].caption.textContent = `${step.layers[i - 1].name} ${step.layers[i - 1].note}`;
      });
      find('frame-number').textContent = numbers[at];
      if (checkpoint) find('checkpoint-label').textContent = step.label;
      find('description').textContent = step.note;
    };
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = 'Play';
      play.setAttribute('aria-pressed', 'false');
    };
    const go = () => {
      timer = setInterval(() => {
        frame.value = (Number(frame.value) + 1) % numbers.length;
        draw();
      }, 200);
      play.textContent = 'Pause';
      play.setAttribute('aria-pressed', 'true');
    };
    play.addEventListener('click', () => (timer === null ? go() : stop()));
    frame.addEventListener('input', () => { stop(); draw(); });
    if (checkpoint) checkpoint.addEventListener('input', draw);
    stage.hidden = false;
    find('controls').hidden = false;
    draw();
    article.dataset.ready = 'true';
    // Only what is on the screen moves.
    if (!isStill) {
      new IntersectionObserver(([entry]) => {
        if (entry.isIntersecting && timer === null && !article.dataset.seen) {
          article.dataset.seen = 'true';
          go();
        } else if (!entry.isIntersecting && timer !== null) {
          delete article.dataset.seen;
          stop();
        }
      }).observe(article);
    }
  };
  Promise.all(all('.player').map(start)).then(() => { root.dataset.ready = 'true'; });
})();
