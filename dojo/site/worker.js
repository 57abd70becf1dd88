// A page that was opened as a file is given no worker by the browser, and search runs in one.
// There, a frame stands in for it: it runs the worker's script, and messages go to and fro.
if (location.protocol === "file:") {
  // As between a page and a worker: a copy, and never before who has sent it is done.
  const deliver = (target, type, data) => {
    const copy = structuredClone(data);
    setTimeout(() => target.dispatchEvent(new MessageEvent(type, { data: copy })));
  };

  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      for (const type of ["message", "error"])
        this.addEventListener(type, (event) => this[`on${type}`]?.(event));
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => deliver(this, "message", data);
      this.loaded = new Promise((resolve) => {
        const script = inside.document.createElement("script");
        script.src = address;
        script.onload = resolve;
        script.onerror = () => deliver(this, "error");
        inside.document.body.append(script);
      });
    }

    async postMessage(data) {
      await this.loaded;
      deliver(this.frame.contentWindow, "message", data);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
