//! What a service answers: the `--- upstream NAME` section of a case.

use crate::quoted;

/// Answers by path.
#[derive(Clone, Default)]
pub(crate) struct Script {
    answers: Vec<(String, Vec<Act>)>,
}

/// One thing a service does with its connection.
#[derive(Clone)]
pub(crate) enum Act {
    Send(Vec<u8>),
    /// Milliseconds.
    Pause(u64),
    Close,
}

impl Script {
    /// Reads the lines of the section; see `cases/README.md`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut script = Self::default();
        let mut head = Vec::new();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            if let Some(path) = line.strip_prefix("on ") {
                script.end_head(&mut head, None);
                script.answers.push((path.trim().to_owned(), Vec::new()));
                continue;
            }
            if script.answers.is_empty() {
                script.answers.push(("*".to_owned(), Vec::new()));
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "=" => script.end_head(&mut head, Some(&quoted::body(rest)?)),
                "raw" => {
                    script.end_head(&mut head, None);
                    script.act(Act::Send(quoted::strings(rest)?));
                }
                "pause" => {
                    script.end_head(&mut head, None);
                    script.act(Act::Pause(rest.parse().map_err(|_| format!("not milliseconds: {line}"))?));
                }
                "close" => {
                    script.end_head(&mut head, None);
                    script.act(Act::Close);
                }
                status if status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit()) => {
                    script.end_head(&mut head, None);
                    head = format!("HTTP/1.1 {}\r\n", line.trim()).into_bytes();
                }
                _ if !head.is_empty() => {
                    head.extend(quoted::unescape(line)?);
                    head.extend(b"\r\n");
                }
                _ => return Err(format!("an answer begins with its status: {line}")),
            }
        }
        script.end_head(&mut head, None);
        Ok(script)
    }

    /// What to do about a request for this path (without its query); nothing when the case does not say.
    pub(crate) fn answer(&self, path: &str) -> Option<&[Act]> {
        let exact = self.answers.iter().find(|(on, _)| on == path);
        exact.or_else(|| self.answers.iter().find(|(on, _)| on == "*")).map(|(_, acts)| acts.as_slice())
    }

    /// Completes a head that has been read; a head without a length of its own gets that of its body.
    fn end_head(&mut self, head: &mut Vec<u8>, body: Option<&[u8]>) {
        if !head.is_empty() {
            let text = String::from_utf8_lossy(head).to_ascii_lowercase();
            if !["\ncontent-length", "\ntransfer-encoding", " 204", " 304", "\nx-no-length"]
                .iter()
                .any(|mark| text.contains(mark))
            {
                head.extend(format!("Content-Length: {}\r\n", body.map_or(0, <[u8]>::len)).into_bytes());
            }
            head.extend(b"\r\n");
            self.act(Act::Send(std::mem::take(head)));
        }
        if let Some(body) = body {
            self.act(Act::Send(body.to_vec()));
        }
    }

    fn act(&mut self, act: Act) {
        if let Some((_, acts)) = self.answers.last_mut() {
            acts.push(act);
        }
    }
}
