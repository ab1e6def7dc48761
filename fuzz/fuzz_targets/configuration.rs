//! Any text as a configuration: read or refused with a complaint that can be shown, asked for every kind of value, and
//! the same again when it is written in quotes.
#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use conf::{
    Arg, Contexts, Diagnostic, Directive, Node, Piece, Shape, Sources, Span, Table, Tree, Word, template,
    value,
};
use libfuzzer_sys::fuzz_target;

/// Stands between the files of one input. The first is `nginx.conf`, the others are `conf.d/1.conf` and so on.
const NEXT_FILE: &str = "\n---\n";

fuzz_target!(|bytes: &[u8]| {
    let mut files = BTreeMap::new();
    for (i, file) in split_files(bytes).enumerate() {
        let name = if i == 0 { "nginx.conf".to_owned() } else { format!("conf.d/{i}.conf") };
        files.insert(PathBuf::from(name), file.to_vec());
    }
    match conf::load(Path::new("nginx.conf"), &mut files) {
        Ok(tree) => check(&tree),
        Err((complaint, sources)) => show(&complaint, &sources),
    }
    if let Err((complaint, sources)) = conf::load_with_globals(bytes, Path::new("none"), &mut files) {
        show(&complaint, &sources);
    }
});

fn split_files(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut more = true;
    std::iter::from_fn(move || {
        if !std::mem::take(&mut more) {
            return None;
        }
        let at = bytes.windows(NEXT_FILE.len()).position(|text| text == NEXT_FILE.as_bytes());
        let Some(at) = at else { return Some(bytes) };
        let file = &bytes[..at];
        (bytes, more) = (&bytes[at + NEXT_FILE.len()..], true);
        Some(file)
    })
}

fn check(tree: &Tree) {
    let table = Table::new(ROWS);
    let mut complaints = Vec::new();
    for node in &tree.nodes {
        check_node(node, Contexts::MAIN, &table, &tree.sources, &mut complaints);
    }
    // Drawing takes longer than all the rest, and the first of a kind is like the others.
    for complaint in complaints.iter().step_by(1 + complaints.len() / 8) {
        show(complaint, &tree.sources);
    }
    let mut text = Vec::new();
    if write_quoted(&tree.nodes, &mut text) {
        match conf::parse_text("quoted", &text) {
            Ok(again) => assert!(same(&tree.nodes, &again.nodes), "{}", String::from_utf8_lossy(&text)),
            Err((complaint, sources)) => panic!("{}", complaint.rich(&sources)),
        }
    }
}

fn check_node(
    node: &Node,
    at: Contexts,
    table: &Table<'_, ()>,
    sources: &Sources,
    complaints: &mut Vec<Diagnostic>,
) {
    for span in [node.span, node.end, node.name.span] {
        check_span(span, sources);
    }
    complaints.extend(table.find(node, at).err());
    // Any shape for any node: names that inputs have are few.
    complaints.extend(ROWS.iter().filter_map(|row| row.check(node, Contexts::ANY).err()));
    for (i, word) in node.args.iter().enumerate().take(8) {
        check_span(word.span, sources);
        check_values(node, i, word);
        if let Ok(pieces) = template::split(&word.text, word.span) {
            check_pieces(&pieces, word.span);
        }
    }
    for child in node.block.iter().flatten() {
        let inside = if at == Contexts::MAIN { Contexts::HTTP } else { Contexts::LOCATION };
        check_node(child, inside, table, sources, complaints);
    }
}

fn check_values(node: &Node, i: usize, word: &Word) {
    // Each reader takes what the one it is built on takes.
    if let Some(size) = value::size(&word.text) {
        assert_eq!(node.offset(i).ok(), Some(size));
        assert_eq!(node.size(i).ok(), Some(size));
    }
    if let Some(number) = value::number(&word.text) {
        assert_eq!(node.number(i).ok(), Some(number));
        assert_eq!(node.offset(i).ok(), u64::try_from(number).ok());
    }
    if let (Ok(msec), Ok(sec)) = (node.msec(i), node.sec(i)) {
        assert_eq!(msec / 1000, sec);
    }
    if let Ok((count, size)) = node.bufs(i) {
        assert!(count != 0 && size != 0);
    }
    let _ = (node.flag(i), node.str(i), node.choice(i, &[("on", 1), ("off", 2)]), node.choices(&[("on", 1)]));
}

/// Pieces that are written again are the same pieces.
fn check_pieces(pieces: &[Piece], span: Span) {
    let mut text = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => text.extend_from_slice(literal),
            Piece::Variable(name) => text.extend_from_slice(format!("${{{name}}}").as_bytes()),
            Piece::Capture(group) => text.extend_from_slice(format!("${group}").as_bytes()),
        }
    }
    let again = template::split(&text, span).expect("pieces that were read once");
    assert_eq!(again, pieces);
    assert_eq!(
        template::has_variables(&text),
        pieces.iter().any(|piece| !matches!(piece, Piece::Literal(_)))
    );
}

fn check_span(span: Span, sources: &Sources) {
    assert!(span.start < span.end, "{span:?} is empty");
    assert_eq!(sources.text(span).len(), (span.end - span.start) as usize);
    assert!(span.position(sources).0 <= span.line as usize, "{span:?}");
}

fn show(complaint: &Diagnostic, sources: &Sources) {
    assert!(!complaint.plain(sources).is_empty());
    assert!(!complaint.rich(sources).is_empty());
}

/// False if a word would become too long to be read.
fn write_quoted(nodes: &[Node], out: &mut Vec<u8>) -> bool {
    nodes.iter().all(|node| {
        let fits = std::iter::once(&node.name).chain(&node.args).all(|word| {
            out.push(b'"');
            let start = out.len();
            for &byte in &word.text {
                if matches!(byte, b'"' | b'\\') {
                    out.push(b'\\');
                }
                out.push(byte);
            }
            let len = out.len() - start;
            out.extend_from_slice(b"\" ");
            len < 4000
        });
        match &node.block {
            None => out.push(b';'),
            Some(block) => {
                out.push(b'{');
                if !write_quoted(block, out) {
                    return false;
                }
                out.push(b'}');
            }
        }
        fits
    })
}

fn same(these: &[Node], those: &[Node]) -> bool {
    let text = |word: &Word| word.text.clone();
    these.len() == those.len()
        && these.iter().zip(those).all(|(this, that)| {
            this.name.text == that.name.text
                && this.args.iter().map(text).eq(that.args.iter().map(text))
                && match (&this.block, &that.block) {
                    (None, None) => true,
                    (Some(this), Some(that)) => same(this, that),
                    _ => false,
                }
        })
}

/// Every kind of argument, under names that inputs have.
static ROWS: &[Directive<()>] = &[
    row("http", Contexts::MAIN, Shape::Block, &[]),
    row("map", Contexts::HTTP, Shape::Free, &[Arg::Text("string"), Arg::Text("$variable")]),
    row("server", Contexts::HTTP, Shape::Block, &[]),
    row("location", Contexts::LOCATION, Shape::Block, &[Arg::Optional(&Arg::Text("=")), Arg::Text("uri")]),
    row("sendfile", Contexts::ANY, Shape::Simple, &[Arg::Flag]),
    row("client_max_body_size", Contexts::ANY, Shape::Simple, &[Arg::Offset]),
    row("proxy_buffers", Contexts::ANY, Shape::Simple, &[Arg::Number, Arg::Size]),
    row("send_timeout", Contexts::ANY, Shape::Simple, &[Arg::Time]),
    row("satisfy", Contexts::ANY, Shape::Simple, &[Arg::Choice(&["all", "any"])]),
    row("resolver", Contexts::ANY, Shape::Simple, &[Arg::Many(&Arg::Text("address"))]),
    row("expires", Contexts::ANY, Shape::Simple, &[Arg::Or("off", &Arg::Time), Arg::Optional(&Arg::Time)]),
    row("index", Contexts::ANY, Shape::Simple, &[Arg::Text("file"), Arg::AnyMany(&Arg::Number)]),
];

const fn row(name: &'static str, contexts: Contexts, shape: Shape, args: &'static [Arg]) -> Directive<()> {
    Directive { name, contexts, args, shape, default: "", doc: "", set: () }
}
