//! A directory without an `index.html`, as a page.

use std::{borrow::Cow, cmp::Reverse, fmt::Write, fs, io, os::unix::ffi::OsStrExt, path::Path};

use super::{Response, Status, path};

const STYLE: &str = ":root{color-scheme:light dark;font:1rem/1.6 system-ui,sans-serif}\
    body{max-width:46rem;margin:2rem auto;padding:0 1rem}h1{font-size:1.25rem;overflow-wrap:anywhere}\
    table{width:100%;border-collapse:collapse}td{padding:.3rem 0;border-top:1px solid #8884;overflow-wrap:anywhere}\
    td+td{text-align:right;white-space:nowrap;opacity:.7;font-variant-numeric:tabular-nums}";

/// Lists `directory`, whose address is `url`.
pub(super) fn page(directory: &Path, url: &str) -> io::Result<Response> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // What a link leads to counts; a link that leads nowhere is left out.
        if let Ok(metadata) = fs::metadata(entry.path()) {
            entries.push((Reverse(metadata.is_dir()), entry.file_name(), metadata.len()));
        }
    }
    entries.sort();

    let title = percent_encoding::percent_decode_str(url).decode_utf8_lossy();
    let title = escape(&title);
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style><h1>{title}</h1><table>"
    );
    if url != "/" {
        html.push_str("<tr><td><a href=\"../\">../</a><td>");
    }
    for (Reverse(is_directory), name, length) in entries {
        let slash = if is_directory { "/" } else { "" };
        let size = if is_directory { String::new() } else { size(length) };
        let link = path::encode(name.as_bytes());
        let name = name.to_string_lossy();
        write!(html, "\n<tr><td><a href=\"{link}{slash}\">{}{slash}</a><td>{size}", escape(&name))
            .expect("a String takes whatever is written to it");
    }
    html.push_str("\n</table></html>\n");
    Ok(Response::new(Status::OK, "text/html; charset=utf-8", html.into_bytes())
        .with("Cache-Control", "no-cache"))
}

fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;"),
    )
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!([0, 1023, 1536, 5 << 40].map(size), ["0 B", "1023 B", "1.5 KiB", "5.0 TiB"]);
    }

    #[test]
    fn names_cannot_become_markup() {
        assert_eq!(escape("<a>&\""), "&lt;a&gt;&amp;&quot;");
    }
}
