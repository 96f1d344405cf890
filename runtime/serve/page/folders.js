// Images of a folder, chosen or dropped: by suffix, in the order of their paths, each named by its path.

const isImage = (path, suffixes) => suffixes.some((suffix) => path.toLowerCase().endsWith(suffix));
const named = (file, path) => Object.defineProperty(file, "name", { value: path });

/** Images of a chosen folder. */
export function imagesOf(files, suffixes) {
  const chosen = [...files].filter((file) => isImage(file.webkitRelativePath, suffixes));
  return chosen.map((file) => named(file, file.webkitRelativePath)).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The entries of a drop that holds a folder; [] where there is none. They must be read before the event ends. */
export function droppedEntries(items) {
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  return entries.some((entry) => entry.isDirectory) ? entries : [];
}

/** Files of dropped entries, folders included. */
export async function filesOf(entries, suffixes) {
  const found = [];
  for (const entry of entries) {
    if (entry.isDirectory) {
      const reader = entry.createReader(), inside = [];
      for (let more; (more = await new Promise((done) => reader.readEntries(done, () => done([])))).length;) inside.push(...more);
      inside.sort((a, b) => (a.name < b.name ? -1 : 1));
      found.push(...(await filesOf(inside, suffixes)));
    } else {
      const file = await new Promise((done) => entry.file(done, () => done(null))), path = entry.fullPath.slice(1);
      if (file && (!path.includes("/") || isImage(path, suffixes))) found.push(named(file, path));
    }
  }
  return found;
}
