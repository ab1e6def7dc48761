//! The language as nginx reads it: words, ends, sentences with their lines, includes, limits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use conf::{Node, Tree, load, load_leniently, load_with_globals, parse_text};
use proptest::prelude::*;

/// Every statement as `name|arg|arg;` or `name|arg{...}`.
fn shape(nodes: &[Node]) -> String {
    let one = |node: &Node| {
        let words: Vec<_> =
            std::iter::once(&node.name).chain(&node.args).map(|word| word.lossy().into_owned()).collect();
        match &node.block {
            Some(block) => format!("{}{{{}}}", words.join("|"), shape(block)),
            None => format!("{};", words.join("|")),
        }
    };
    nodes.iter().map(one).collect()
}

/// The shape of a text, or nginx's complaint about it.
fn read(text: &str) -> String {
    match parse_text("t", text.as_bytes()) {
        Ok(tree) => shape(&tree.nodes),
        Err((diagnostic, sources)) => diagnostic.plain(&sources),
    }
}

#[test]
fn words() {
    for (text, expected) in [
        ("a b c;d{e;}", "a|b|c;d{e;}"),
        ("a#b c; # d;\ne;", "a#b|c;e;"),
        (r#"a "b c" 'd "e"' "f\"g";"#, r#"a|b c|d "e"|f"g;"#),
        (r"a \.php$ \d+\\ \; \{ '\t\x';", "a|\\.php$|\\d+\\|\\;|\\{|\t\\x;"),
        ("a ${b}c$d{e;}", "a|${b}c$d{e;}"),
        ("if ($a = \"b\"){c;}", "if|($a|=|b|){c;}"),
        ("a b'c\"d;", "a|b'c\"d;"),
        ("a b};", "a|b};"),
        ("a \"\" '';", "a||;"),
        ("a\\ b c;", "a\\ b|c;"),
        ("a \"b\nc\";", "a|b\nc;"),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn sentences_and_lines() {
    for (text, expected) in [
        ("a \"b\"c;", "unexpected \"c\" in t:1"),
        ("\n;", "unexpected \";\" in t:2"),
        ("{", "unexpected \"{\" in t:1"),
        ("a;\n}", "unexpected \"}\" in t:2"),
        ("a {\nb }\n}", "unexpected \"}\" in t:2"),
        ("a {\nb\n}", "unexpected \"}\" in t:3"),
        ("a\n\n", "unexpected end of file, expecting \";\" or \"}\" in t:3"),
        ("a \"b;\n", "unexpected end of file, expecting \";\" or \"}\" in t:2"),
        ("a {\n\n", "unexpected end of file, expecting \"}\" in t:3"),
        ("a \\", "unexpected end of file, expecting \";\" or \"}\" in t:1"),
        ("include x;", "open() \"x\" failed (2: No such file or directory) in t:1"),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}

/// From ngx_conf_read_token() of nginx 1.31: a word and the byte after it must fit a buffer of 4096 bytes, and so must a comment.
#[test]
fn long_words() {
    let word = |length: usize| "x".repeat(length);
    assert_eq!(read(&format!("a {};", word(4095))), format!("a|{};", word(4095)));
    let sentence = "too long parameter \"xxxxxxxxxx...\" started in t:2";
    assert_eq!(read(&format!("a\n{}\n;", word(4096))), sentence);
    let sentence = "too long parameter, probably missing terminating \"'\" character in t:1";
    assert_eq!(read(&format!("a '{}\n';", word(4096))), sentence);
    assert_eq!(read(&format!("#{}\na;", word(4094))), "a;");
    assert!(read(&format!("#{}\na;", word(4095))).starts_with("too long parameter \"#xxxxxxxxx...\""));
}

#[test]
fn a_directive_is_complained_about_on_the_line_where_it_ends() {
    let tree = parse_text("t", b"a\n b\n {\n c;\n}\n").unwrap();
    let node = &tree.nodes[0];
    assert_eq!((node.span.line, node.args[0].span.line, node.end.line), (3, 3, 5));
    assert_eq!(node.args[0].span.position(&tree.sources), (2, 2));
}

fn tree_of(files: &[(&str, &str)], globals: &str) -> Result<Tree, String> {
    let mut files: BTreeMap<PathBuf, Vec<u8>> =
        files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect();
    load_with_globals(globals.as_bytes(), Path::new("/n/main"), &mut files)
        .map_err(|(diagnostic, sources)| diagnostic.plain(&sources))
}

#[test]
fn includes_count_from_the_folder_of_the_main_file() {
    let tree = tree_of(
        &[
            ("/n/main", "a{include sub/*.conf; include none/*; z;}"),
            ("/n/sub/2.conf", "two;"),
            ("/n/sub/1.conf", "one; include sub/2.conf;"),
            ("/n/sub/.hidden.conf", "hidden;"),
            ("/n/sub/deep/3.conf", "three;"),
        ],
        "g on;",
    )
    .unwrap();
    assert_eq!(shape(&tree.nodes), "g|on;a{one;two;two;z;}");
    let read: Vec<_> = tree.sources.files.iter().map(|file| file.path.as_deref()).collect();
    let path = |path| Some(Path::new(path));
    assert_eq!(read, [None, path("/n/main"), path("/n/sub/1.conf"), path("/n/sub/2.conf")]);
}

#[test]
fn complaints_name_the_file_they_are_about() {
    let error = |files: &[(&str, &str)], globals| tree_of(files, globals).unwrap_err();
    assert_eq!(error(&[], ""), "open() \"/n/main\" failed (2: No such file or directory)");
    assert_eq!(error(&[("/n/main", "a;\ninclude b;"), ("/n/b", "\n\n}")], ""), "unexpected \"}\" in /n/b:3");
    let main = &[("/n/main", "")];
    assert_eq!(error(main, "a b"), "unexpected end of parameter, expecting \";\" in command line");
    assert_eq!(error(main, "a {}"), "block directives are not supported in -g option in command line");
}

#[test]
fn hostile_files_are_errors_not_crashes() {
    let error = |files: &[(&str, &str)]| tree_of(files, "").unwrap_err();
    assert_eq!(error(&[("/n/main", "include main;")]), "file \"/n/main\" includes itself in /n/main:1");
    let deep = "a{".repeat(1_000_000);
    assert_eq!(error(&[("/n/main", &deep)]), "blocks are nested more than 128 deep in /n/main:1");
    // Each file includes the next one many times: 20^20 statements, were they all read.
    let files: Vec<(String, String)> = (0..20)
        .map(|i| {
            (
                if i == 0 { "/n/main".into() } else { format!("/n/{i}") },
                format!("include {};", i + 1).repeat(20),
            )
        })
        .collect();
    let mut files: BTreeMap<PathBuf, Vec<u8>> =
        files.into_iter().map(|(path, text)| (path.into(), text.into_bytes())).collect();
    files.insert("/n/20".into(), Vec::new());
    let (diagnostic, _) = load(Path::new("/n/main"), &mut files).unwrap_err();
    assert!(diagnostic.message.starts_with("the configuration has more than"), "{diagnostic}");
}

/// What is read leniently of some files, and what is said about them.
fn lenient(files: &[(&str, &str)]) -> (String, Vec<String>) {
    let mut map: BTreeMap<_, _> =
        files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect();
    let (tree, faults) = load_leniently(Path::new("/main"), &mut map);
    (shape(&tree.nodes), faults.iter().map(|fault| fault.plain(&tree.sources)).collect())
}

#[test]
fn lenient_reading_goes_on_behind_what_is_missing() {
    let main = "a; include gone; b { include x*; include part; }\n} c;";
    let (read, faults) = lenient(&[("/main", main), ("/part", "d; e {\n f; \"g"), ("/other", "")]);
    assert_eq!(read, "a;b{d;e{f;}}c;");
    assert_eq!(
        faults,
        [
            "open() \"/gone\" failed (2: No such file or directory) in /main:1",
            "no file matches \"/x*\" in /main:1",
            "unexpected end of file, expecting \";\" or \"}\" in /part:2",
            "what follows in this file is not looked at until that is right in /part:2",
            "unexpected \"}\" in /main:2",
        ]
    );
    let (read, faults) = lenient(&[("/main", "a { b;\n c {")]);
    assert_eq!(read, "a{b;c{}}");
    assert_eq!(faults, ["unexpected end of file, expecting \"}\" in /main:2"]);
}

#[test]
fn lenient_reading_passes_over_blocks_of_lua() {
    let lua = "a; content_by_lua_block {\n if x then y = { z = \"}\" } end -- it's }\n }\nb; }";
    let (read, faults) = lenient(&[("/main", lua)]);
    assert_eq!(read, "a;content_by_lua_block{}b;");
    assert_eq!(faults, ["unexpected \"}\" in /main:4"]);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        whatever(&bytes);
    }

    /// Bytes that mean something are met more often than among all 256.
    #[test]
    fn no_punctuation_panics(text in "[ab $\\\\{};#\"'\n)(*1é]{0,60}|(include [ab*\\[]{1,3};)*") {
        whatever(text.as_bytes());
    }
}

/// Reads bytes in every way there is, and shows what comes of it.
fn whatever(bytes: &[u8]) {
    let mut files =
        BTreeMap::from([(PathBuf::from("a"), bytes.to_vec()), (PathBuf::from("b"), b"x;".to_vec())]);
    let (tree, faults) = load_leniently(Path::new("a"), &mut files);
    for fault in faults {
        drop((fault.plain(&tree.sources), fault.rich(&tree.sources)));
    }
    for globals in [b"".as_slice(), bytes] {
        match load_with_globals(globals, Path::new("a"), &mut files) {
            Ok(tree) => {
                for node in &tree.nodes {
                    assert!(tree.sources.text(node.span).len() >= node.name.text.len());
                    drop(
                        conf::template::split(&node.name.text, node.span)
                            .map_err(|error| error.rich(&tree.sources)),
                    );
                    drop((node.flag(0), node.msec(0), node.offset(0), node.bufs(0)));
                }
            }
            Err((diagnostic, sources)) => drop((diagnostic.plain(&sources), diagnostic.rich(&sources))),
        }
    }
}
