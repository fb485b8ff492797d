// Photos go to the server of this page and nowhere else. One picture is looked at at a time: before and after lie over
// each other, a mask over both. What the brush does are strokes over the mask that was found; undo leaves one out.
// A PDF is a photo of several pages, each with a mask and strokes of its own: its sheet.
"use strict";

const WORDS = {
  tagline: ["Removes fingers, hands and heads from photographed documents.", "去除文档照片中的手指、手和头像遮挡。"],
  choose: ["Add photos", "添加照片"], zip: ["Download ZIP", "全部下载（ZIP）"],
  drop: ["Drop photos or PDFs here, paste them, or click to choose", "将照片或 PDF 拖到这里、粘贴，或点击选择"],
  tap: ["Choose photos or PDFs", "选择照片或 PDF"],
  kinds: ["JPEG, HEIC, PNG, TIFF, WebP, AVIF, BMP and PDF, up to {mb} MB and {mp} megapixels a page, {n} at a time.",
          "支持 JPEG、HEIC、PNG、TIFF、WebP、AVIF、BMP 和 PDF；每个文件不超过 {mb} MB，每页不超过 {mp} 百万像素，一次最多 {n} 个。"],
  private: ["They stay with the program that serves this page, and are removed when you remove them, some time later, or when it ends.",
            "照片只保存在提供本页面的程序中；您移除照片、一段时间之后或程序结束时，照片会被删除。"],
  tools: ["Tools", "工具"], hand: ["Look", "查看"], add: ["Remove more", "增加遮挡"], protect: ["Keep", "保留"],
  erase: ["Eraser", "橡皮"], size: ["Brush", "画笔"], undo: ["Undo", "撤销"], redo: ["Redo", "重做"],
  show: ["Mask", "遮罩"], apply: ["Apply again", "重新处理"], before: ["Before", "处理前"], after: ["After", "处理后"],
  stage: ["Photo: arrow keys move it, plus and minus zoom, 0 fits; with a brush the space bar paints in the middle",
          "照片：方向键移动，加减键缩放，0 适合窗口；使用画笔时空格键在中央涂抹"],
  divider: ["Border between before and after", "处理前后的分界线"], out: ["Zoom out", "缩小"], in: ["Zoom in", "放大"], fit: ["Fit", "适合窗口"],
  remove: ["Remove", "移除"], download: ["Download", "下载"], photos: ["Photos", "照片"],
  queued: ["waits to be sent", "等待上传"], sending: ["is being sent", "正在上传"], waiting: ["waits, {n} before it", "排队中，前面还有 {n} 张"], next: ["is next", "即将处理"],
  working: ["is being restored …", "正在处理…"], failed: ["failed", "失败"],
  found: ["{n} removed", "已去除 {n} 处"], clean: ["nothing found", "未发现遮挡"],
  told: ["{width} × {height}, {seconds} s", "{width} × {height}，{seconds} 秒"], paging: ["page {page} of {pages} …", "正在处理第 {page} / {pages} 页…"],
  plain: ["no page of it is a picture", "其中没有图片页面"], back: ["Page before", "上一页"], on: ["Next page", "下一页"],
  progress: ["{done} of {all} done", "已完成 {done} / {all}"], many: ["at most {n} photos at a time; {more} were left out", "一次最多 {n} 张照片，另有 {more} 张未添加"],
  too_large: ["too large", "文件过大"], no_picture: ["not a picture that can be read", "不是可读取的图片"], broken: ["broken", "图片已损坏"],
  gone: ["no longer there", "已不存在"], full: ["no room", "空间不足"], lost: ["the program does not answer", "程序没有响应"],
};
const language = navigator.language.toLowerCase().startsWith("zh") ? 1 : 0;
const t = (key, values = {}) => WORDS[key][language].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const $ = id => document.getElementById(id);
const stage = $("stage"), world = $("world"), mask = $("mask"), brush = mask.getContext("2d");
const AT_ONCE = 3, MASK_SIDE = 2048, RED = "#ff2d2d";
let limits = {limit_bytes: Infinity, limit_pixels: Infinity, limit_photos: Infinity};
let photos = [], current = null, active = 0;
let view = {scale: 1, x: 0, y: 0}, split = 0.5, tool = "hand", shown = false, stroke = null, base = null;

// --- words and messages

function speak() {
  document.documentElement.lang = ["en", "zh-CN"][language];
  const values = {mb: limits.limit_bytes / 1e6, mp: limits.limit_pixels / 1e6, n: limits.limit_photos};
  for (const one of document.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t, values);
  for (const one of document.querySelectorAll("[data-label]")) one.ariaLabel = one.title = t(one.dataset.label);
  if (matchMedia("(pointer: coarse)").matches) document.querySelector("#drop h2").textContent = t("tap");
  stage.title = $("divider").title = "";
  $("photos").ariaLabel = t("photos");
}

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad && text !== "");
}

// A refusal: a sentence of the server, in Chinese with its meaning before it.
function wording(problem) {
  const meaning = WORDS[problem.code] && t(problem.code), {detail} = problem;
  return !detail || !meaning ? meaning || String(detail || problem) : language ? `${meaning}（${detail}）` : detail;
}

async function call(path, options) {
  const answer = await fetch(`api/${path}`, options).catch(() => { throw {code: "lost"}; });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  throw {retry: Number(answer.headers.get("Retry-After")), ...await answer.json().catch(() => ({code: "lost"}))};
}

// --- photos: in, along, out

function add(files) {
  const all = [...files], room = Math.max(0, limits.limit_photos - photos.length);
  say(all.length > room ? t("many", {n: limits.limit_photos, more: all.length - room}) : "", true);
  for (const file of all.slice(0, room)) {
    const photo = {file, name: file.name || "photo.png", state: "queued", at: 1, sheets: {}};
    if (file.size > limits.limit_bytes) {
      const detail = `${(file.size / 1e6).toFixed(1)} MB > ${limits.limit_bytes / 1e6} MB`;
      Object.assign(photo, {state: "failed", problem: `${t("too_large")}: ${detail}`});
    }
    photos.push(photo);
    list(photo);
  }
  if (!current && photos.length) select(photos[0]);
  pump();
}

function pump() {
  progress();
  for (const photo of photos.filter(one => one.state === "queued").slice(0, AT_ONCE - active)) {
    active++;
    send(photo).finally(() => { active--; pump(); });
  }
}

async function send(photo) {
  const body = new FormData();
  body.append("photo", photo.file, photo.name);
  change(photo, {state: "sending"});
  while (photos.includes(photo)) {
    try {
      change(photo, await call("jobs", {method: "POST", body}));
      if (!photos.includes(photo)) return call(`jobs/${photo.id}`, {method: "DELETE"}).catch(() => {});
      photo.file = null;
      return follow(photo);
    } catch (problem) {
      if (problem.code !== "busy") return change(photo, {state: "failed", problem: wording(problem)});
      await new Promise(done => setTimeout(done, 1000 * (problem.retry || 2)));
    }
  }
}

async function follow(photo) {
  try {
    do change(photo, await call(`jobs/${photo.id}?wait=1`)); while (unfinished(photo) && photos.includes(photo));
    if (photo.state === "failed") change(photo, {problem: wording({code: "broken", detail: photo.message})});
  } catch (problem) {
    if (photos.includes(photo)) change(photo, {state: "failed", problem: wording(problem)});
  }
}

const unfinished = photo => ["queued", "sending", "waiting", "working"].includes(photo.state);
const sheet = photo => photo.sheets[photo.at] ||= {strokes: [], undone: [], applied: []};
const file = (photo, what, page = photo.at) => `api/jobs/${photo.id}/${what}?page=${page}&v=${photo.version}`;

function change(photo, news) {
  const version = photo.version;
  Object.assign(photo, news);
  if (!photos.includes(photo)) return;
  list(photo);
  progress();
  if (photo === current) photo.version !== version ? open(photo) : refresh();
}

function progress() {
  const done = photos.filter(one => one.state === "done"), ended = photos.filter(one => !unfinished(one));
  if (photos.length > 1) document.title = ended.length < photos.length ? `${ended.length}/${photos.length} uncover` : "uncover";
  if (photos.length > 1 && !$("status").classList.contains("bad")) say(t("progress", {done: ended.length, all: photos.length}));
  $("zip").hidden = done.length < 2;
  $("zip").href = `api/zip?${done.map(one => `id=${one.id}`).join("&")}`;
  $("drop").hidden = photos.length > 0;
  $("photos").hidden = photos.length < 2;
  $("editor").hidden = !current;
}

function state(photo) {
  if (photo.state === "failed") return (photo.problem || t("failed")).replace(`${photo.name}: `, "");
  if (photo.state === "working" && photo.pages > 1) return t("paging", photo);
  if (photo.state === "waiting" && !photo.ahead) return t("next");
  if (photo.state !== "done") return t(photo.state, {n: photo.ahead});
  if (!photo.sizes.length) return t("plain");
  return photo.occluders ? t("found", {n: photo.occluders}) : t("clean");
}

function list(photo) {
  if (!photo.row) {
    photo.row = $("photos").appendChild(document.createElement("li"));
    photo.row.innerHTML = "<button><i></i><span><b></b><small></small></span></button>";
    photo.row.firstChild.onclick = () => select(photo);
  }
  const [button, name, told] = ["button", "b", "small"].map(one => photo.row.querySelector(one));
  [name.textContent, told.textContent] = [photo.name, state(photo)];
  button.title = `${photo.name}: ${told.textContent}`;
  button.setAttribute("aria-pressed", photo === current);
  photo.row.className = photo.state === "failed" ? "failed" : unfinished(photo) ? "busy" : "";
  if (photo.version && photo.sizes.length && photo.version !== photo.pictured) {
    const picture = Object.assign(new Image(), {alt: "", src: file(photo, "thumb", 1)});
    photo.row.querySelector("i, img").replaceWith(picture);
    photo.pictured = photo.version;
  }
}

function remove(photo) {
  const place = photos.indexOf(photo);
  photos.splice(place, 1);
  photo.row.remove();
  if (photo.id) call(`jobs/${photo.id}`, {method: "DELETE"}).catch(() => {});
  say("");
  current = null;
  select(photos[Math.min(place, photos.length - 1)] || null);
  (current ? current.row.firstChild : $("choose")).focus();
}

// --- one photo: shown

function select(photo) {
  const last = current;
  current = photo;
  for (const one of [last, photo]) if (one && one.row) list(one);
  progress();
  if (photo) open(photo);
}

const loaded = address => new Promise((done, failed) => {
  const picture = Object.assign(new Image(), {onload: () => done(picture), onerror: failed, src: address});
});

async function open(photo) {
  const {version} = photo, shows = sheet(photo), known = world.sheet === shows;
  world.hidden = !known;
  refresh();
  if (!version || !photo.sizes.length) return;
  try {
    const found = shows.found || await loaded(file(photo, "mask"));
    const before = known ? $("before") : await loaded(file(photo, "before")), after = await loaded(file(photo, "after"));
    if (photo !== current || photo.version !== version || shows !== sheet(photo)) return;
    shows.found = found;
    [$("before").src, $("after").src] = [before.src, after.src];
    shows.size = {width: before.naturalWidth, height: before.naturalHeight};
  } catch { return say(t("gone"), true); }
  world.sheet = shows;
  world.hidden = false;
  [world.style.width, world.style.height] = [`${shows.size.width}px`, `${shows.size.height}px`];
  if (!known) { prepare(shows); fit(); } else place();
  refresh();
}

function turn(by) {
  const to = current.at + by;
  if (stroke || !current.version || to < 1 || to > current.sizes.length) return;
  current.at = to;
  open(current);
}

function refresh() {
  const photo = current;
  if (!photo) return;
  const {strokes, undone, applied} = sheet(photo), pages = photo.version ? photo.sizes.length : 0;
  const ready = pages > 0 && !unfinished(photo) && !world.hidden;
  $("wait").hidden = photo.state === "done" && pages > 0;
  $("wait").textContent = state(photo);
  const [width, height] = pages ? photo.sizes[photo.at - 1] : [];
  const told = pages ? t("told", {width, height, seconds: photo.seconds.toFixed(1)}) : "";
  $("about").textContent = [photo.name, told, state(photo), ...(photo.notes || [])].filter(Boolean).join(" · ");
  for (const one of document.querySelectorAll("#tools button, #size")) one.disabled = !ready;
  $("undo").disabled = !ready || !strokes.length;
  $("redo").disabled = !ready || !undone.length;
  $("apply").disabled = !ready || same(strokes, applied);
  $("pages").hidden = pages < 2;
  $("number").textContent = `${photo.at} / ${pages}`;
  [$("back").disabled, $("on").disabled] = [photo.at === 1, photo.at >= pages];
  $("download").hidden = !photo.version;
  if (photo.version) [$("download").href, $("download").download] = [file(photo, "result"), photo.name];
  for (const one of document.querySelectorAll("[data-tool]")) one.setAttribute("aria-pressed", one.dataset.tool === tool);
  $("show").setAttribute("aria-pressed", shown);
  stage.classList.toggle("brush", tool !== "hand");
  mask.hidden = !shown;
  for (const one of document.querySelectorAll(".side, #divider")) one.hidden = world.hidden;
}

const same = (one, other) => one.length === other.length && one.every((stroke, place) => stroke === other[place]);

function place() {
  const {scale, x, y} = view, width = stage.clientWidth;
  world.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
  world.classList.toggle("close", scale > 2);
  $("after").style.clipPath = `inset(0 0 0 ${Math.max(0, (split * width - x) / scale)}px)`;
  $("divider").style.left = `${split * width}px`;
  $("divider").setAttribute("aria-valuenow", Math.round(100 * split));
}

function fit() {
  if (!current || !sheet(current).size) return;
  const {width, height} = sheet(current).size;
  const scale = Math.min(stage.clientWidth / width, stage.clientHeight / height) * 0.97;
  view = {scale, x: (stage.clientWidth - scale * width) / 2, y: (stage.clientHeight - scale * height) / 2};
  place();
}

function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const scale = Math.min(16, Math.max(0.02, view.scale * factor)), by = scale / view.scale;
  view = {scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by};
  place();
}

function pan(x, y) {
  view.x += x;
  view.y += y;
  place();
}

function divide(share) {
  split = Math.min(1, Math.max(0, share));
  place();
}

// --- the mask

// What was found, red where it is covered and clear elsewhere, and the strokes over it.
function prepare({found, size: {width, height}}) {
  const scale = Math.min(1, MASK_SIDE / Math.max(width, height));
  [mask.width, mask.height] = [width, height].map(side => Math.max(1, Math.round(scale * side)));
  base = Object.assign(document.createElement("canvas"), {width: mask.width, height: mask.height});
  const drawn = base.getContext("2d");
  drawn.drawImage(found, 0, 0, mask.width, mask.height);
  const pixels = drawn.getImageData(0, 0, mask.width, mask.height);
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set([255, 45, 45, pixels.data[i] > 127 ? 255 : 0], i);
  drawn.putImageData(pixels, 0, 0);
  redraw();
}

function redraw() {
  brush.globalCompositeOperation = "source-over";
  brush.clearRect(0, 0, mask.width, mask.height);
  brush.drawImage(base, 0, 0);
  for (const one of sheet(current).strokes) paint(one);
  refresh();
}

// A stroke, or what has been added to it since `from`.
function paint(one, from = 0) {
  const erases = one.tool === "erase", to = erases ? document.createElement("canvas").getContext("2d") : brush;
  if (erases) [to.canvas.width, to.canvas.height] = [mask.width, mask.height];
  Object.assign(to, {lineCap: "round", lineJoin: "round", lineWidth: one.width, strokeStyle: RED});
  const line = context => {
    context.beginPath();
    context.moveTo(...one.points[from]);
    for (const point of one.points.slice(from)) context.lineTo(...point);
    context.stroke();
  };
  brush.globalCompositeOperation = one.tool === "add" ? "source-over" : "destination-out";
  Object.assign(brush, {lineCap: "round", lineJoin: "round", lineWidth: one.width});
  line(brush);
  if (!erases) return;
  line(to);
  to.globalCompositeOperation = "source-in";
  to.drawImage(base, 0, 0);
  brush.globalCompositeOperation = "source-over";
  brush.drawImage(to.canvas, 0, 0);
}

const onMask = (x, y) => {
  const scale = mask.width / sheet(current).size.width / view.scale;
  return [(x - view.x) * scale, (y - view.y) * scale];
};

function begin(x, y) {
  stroke = {tool, width: $("size").value * mask.width / sheet(current).size.width / view.scale, points: [onMask(x, y)]};
  paint(stroke);
}

function end() {
  if (stroke) {
    sheet(current).strokes.push(stroke);
    sheet(current).undone = [];
  }
  stroke = null;
  refresh();
}

function step(from, to) {
  if (!current || $(from === "strokes" ? "undo" : "redo").disabled) return;
  sheet(current)[to].push(sheet(current)[from].pop());
  redraw();
}

function take(name) {
  if ($("show").disabled) return;
  if (name !== "hand") {
    shown = true;
    if (tool === "hand" && !sheet(current).strokes.length) divide(1);
  }
  tool = name;
  refresh();
}

async function apply() {
  const photo = current;
  if (!photo || $("apply").disabled) return;
  const sent = Object.assign(document.createElement("canvas"), {width: mask.width, height: mask.height});
  const drawn = sent.getContext("2d");
  drawn.drawImage(mask, 0, 0);
  drawn.globalCompositeOperation = "source-in";
  drawn.fillStyle = "#fff";
  drawn.fillRect(0, 0, sent.width, sent.height);
  drawn.globalCompositeOperation = "destination-over";
  drawn.fillStyle = "#000";
  drawn.fillRect(0, 0, sent.width, sent.height);
  const body = new FormData(), told = sheet(photo), strokes = [...told.strokes], {at} = photo;
  change(photo, {state: "sending"});
  body.append("mask", await new Promise(done => sent.toBlob(done, "image/png")), "mask.png");
  try {
    change(photo, await call(`jobs/${photo.id}/mask?page=${at}`, {method: "POST", body}));
    await follow(photo);
    told.applied = strokes;
    if (photo === current) { shown = false; tool = "hand"; divide(split === 1 ? 0.5 : split); refresh(); }
  } catch (problem) {
    say(wording(problem), true);
    change(photo, {state: problem.code === "gone" ? "failed" : "done", problem: wording(problem)});
  }
}

// --- hands and keys

const pointers = new Map();
const here = event => {
  const box = stage.getBoundingClientRect();
  return [event.clientX - box.left - stage.clientLeft, event.clientY - box.top - stage.clientTop];
};

stage.onpointerdown = event => {
  if (event.target === $("divider") || !current || world.hidden) return;
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, here(event));
  if (pointers.size > 1 && stroke) { stroke = null; redraw(); }
  else if (pointers.size === 1 && tool !== "hand" && event.button === 0 && !$("show").disabled) begin(...here(event));
};
stage.onpointermove = event => {
  const [x, y] = here(event), last = pointers.get(event.pointerId), width = $("size").value;
  $("ring").hidden = tool === "hand" || event.pointerType === "touch" || event.target === $("divider");
  Object.assign($("ring").style, {width: `${width}px`, height: `${width}px`, left: `${x - width / 2}px`, top: `${y - width / 2}px`});
  if (!last) return;
  pointers.set(event.pointerId, [x, y]);
  if (pointers.size === 2) {
    const [ox, oy] = [...pointers].find(([id]) => id !== event.pointerId)[1];
    pan((x - last[0]) / 2, (y - last[1]) / 2);
    zoom(Math.hypot(x - ox, y - oy) / Math.max(1, Math.hypot(last[0] - ox, last[1] - oy)), (x + ox) / 2, (y + oy) / 2);
  } else if (stroke) {
    stroke.points.push(onMask(x, y));
    paint(stroke, stroke.points.length - 2);
  } else pan(x - last[0], y - last[1]);
};
stage.onpointerup = stage.onpointercancel = event => {
  if (pointers.delete(event.pointerId) && !pointers.size) end();
};
stage.onpointerleave = () => { $("ring").hidden = true; };
stage.addEventListener("wheel", event => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), ...here(event));
}, {passive: false});
$("divider").onpointerdown = event => $("divider").setPointerCapture(event.pointerId);
$("divider").onpointermove = event => {
  if ($("divider").hasPointerCapture(event.pointerId)) divide(here(event)[0] / stage.clientWidth);
};
$("divider").onkeydown = event => {
  const to = {ArrowLeft: split - 0.02, ArrowRight: split + 0.02, Home: 0, End: 1}[event.key];
  if (to === undefined) return;
  event.preventDefault();
  event.stopPropagation();
  divide(to);
};
stage.onkeydown = event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const middle = [stage.clientWidth / 2, stage.clientHeight / 2];
  const act = {
    ArrowLeft: () => pan(60, 0), ArrowRight: () => pan(-60, 0), ArrowUp: () => pan(0, 60), ArrowDown: () => pan(0, -60),
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), 0: fit, 1: () => zoom(1 / view.scale),
    " ": () => { if (tool !== "hand" && !$("show").disabled) { begin(...middle); end(); } }, Enter: apply,
    PageUp: () => turn(-1), PageDown: () => turn(1),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
};
document.onkeydown = event => {
  if (!current || event.target.type === "range") return;
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && (key === "z" || key === "y")) {
    event.preventDefault();
    key === "y" || event.shiftKey ? step("undone", "strokes") : step("strokes", "undone");
  } else if (!event.ctrlKey && !event.metaKey && !event.altKey) {
    const name = {h: "hand", b: "add", p: "protect", e: "erase"}[key];
    if (name) take(name);
    else if (key === "m") $("show").click();
    else if (key === "[" || key === "]") $("size").value = $("size").value * (key === "]" ? 1.25 : 0.8);
  }
};
for (const one of document.querySelectorAll("[data-tool]")) one.onclick = () => take(one.dataset.tool);
$("undo").onclick = () => step("strokes", "undone");
$("redo").onclick = () => step("undone", "strokes");
$("show").onclick = () => { shown = !shown; refresh(); };
$("apply").onclick = apply;
$("remove").onclick = () => remove(current);
$("back").onclick = () => turn(-1);
$("on").onclick = () => turn(1);
$("fit").onclick = fit;
$("full").onclick = () => zoom(1 / view.scale);
$("in").onclick = () => zoom(1.25);
$("out").onclick = () => zoom(0.8);
$("choose").onclick = $("drop").onclick = () => $("files").click();
$("files").onchange = () => { add($("files").files); $("files").value = ""; };
document.ondragover = event => { event.preventDefault(); document.body.classList.add("over"); };
document.ondragleave = event => { if (!event.relatedTarget) document.body.classList.remove("over"); };
document.ondrop = event => {
  event.preventDefault();
  document.body.classList.remove("over");
  add(event.dataTransfer.files);
};
document.onpaste = event => { if (event.clipboardData.files.length) add(event.clipboardData.files); };
new ResizeObserver(fit).observe(stage);
speak();
call("health").then(told => { limits = told; speak(); }, problem => say(wording(problem), true));
