//! Static files: ranges, tags, and what is not there.

use std::{fs, path::Path};

use tempest_front::Route;

use crate::{
    client::Response,
    scene::{Running, Scene, routes},
};

struct Site {
    _scene: Scene,
    _folder: tempfile::TempDir,
    front: Running,
}

impl Site {
    fn new(route: Route) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("site");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        };
        write("site/index.html", "<h1>hi</h1>");
        write("site/a.txt", "0123456789");
        write("site/sub/index.html", "sub");
        write("site/.env", "secret");
        write("site/.git/config", "secret");
        write("outside.txt", "secret");
        std::os::unix::fs::symlink(folder.path().join("outside.txt"), root.join("link.txt")).expect("linked");
        std::os::unix::fs::symlink(Path::new("a.txt"), root.join("inside.txt")).expect("linked");
        let scene = Scene::new();
        let files = Route { path: "/files/{*rest}".into(), static_dir: Some(root), ..route };
        let front = scene.front_with(routes(vec![files]));
        Self { _scene: scene, _folder: folder, front }
    }

    fn ask(&self, method: &str, path: &str, fields: &str) -> Response {
        let mut client = self.front.client();
        client.send(format!("{method} {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n"));
        client.response_to(method)
    }

    fn get(&self, path: &str, fields: &str) -> Response {
        self.ask("GET", path, fields)
    }
}

#[test]
fn a_file_has_a_type_a_tag_and_no_surprises() {
    let site = Site::new(Route { cache_control: Some("max-age=60".into()), ..Route::default() });
    let file = site.get("/files/a.txt?x=1", "");
    assert_eq!((file.status, file.text().as_str()), (200, "0123456789"));
    assert_eq!(file.header("content-type").as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(file.header("cache-control").as_deref(), Some("max-age=60"));
    assert_eq!(file.header("x-content-type-options").as_deref(), Some("nosniff"));
    assert!(file.header("etag").is_some_and(|etag| etag.starts_with('"')));
    assert_eq!(site.get("/files/", "").text(), "<h1>hi</h1>");
    assert_eq!(site.get("/files/inside.txt", "").text(), "0123456789", "a link within the folder");
    let folder = site.get("/files/sub", "");
    assert_eq!((folder.status / 100, folder.header("etag")), (3, None));
    let head = site.ask("HEAD", "/files/a.txt", "");
    assert_eq!((head.status, head.header("content-length").as_deref()), (200, Some("10")));
}

#[test]
fn what_is_not_a_plain_name_below_the_folder_is_not_there() {
    let site = Site::new(Route::default());
    let paths = [
        "../outside.txt",
        "..%2foutside.txt",
        "%2e%2e/outside.txt",
        "sub/../../outside.txt",
        "..%5coutside.txt",
        ".env",
        ".git/config",
        "%2eenv",
        "link.txt",
        "nothing",
        "a.txt/",
        "a.txt%00",
        "/a.txt",
        "%2fetc/passwd",
        "%ff",
    ];
    for path in paths {
        let response = site.get(&format!("/files/{path}"), "");
        assert_eq!(response.status, 404, "{path}: {}", response.text());
        assert!(response.text().contains("not_found"), "{path}");
    }
    let post = site.ask("POST", "/files/a.txt", "content-length: 0\r\n");
    assert_eq!((post.status, post.header("allow").as_deref()), (405, Some("GET, HEAD")));
    let site = Site::new(Route { dotfiles: true, ..Route::default() });
    assert_eq!(site.get("/files/.env", "").text(), "secret", "asked for");
}

#[test]
fn parts_of_a_file() {
    let site = Site::new(Route::default());
    let etag = site.get("/files/a.txt", "").header("etag").expect("a tag");
    let part = |fields: &str| {
        let part = site.get("/files/a.txt", fields);
        (part.status, part.text())
    };
    assert_eq!(part("range: bytes=2-4\r\n"), (206, "234".into()));
    assert_eq!(part("range: bytes=-3\r\n"), (206, "789".into()));
    assert_eq!(part("range: bytes=7-\r\n"), (206, "789".into()));
    assert_eq!(part("range: bytes=20-\r\n").0, 416);
    assert_eq!(part(&format!("range: bytes=2-4\r\nif-range: {etag}\r\n")), (206, "234".into()));
    assert_eq!(part("range: bytes=2-4\r\nif-range: \"other\"\r\n"), (200, "0123456789".into()));
    assert_eq!(part(&format!("range: bytes=2-4\r\nif-range: W/{etag}\r\n")), (200, "0123456789".into()));
    let told = site.get("/files/a.txt", "range: bytes=2-4\r\n");
    assert_eq!(told.header("content-range").as_deref(), Some("bytes 2-4/10"));
    assert_eq!(told.header("etag"), Some(etag));
}

#[test]
fn what_a_client_has_already_is_not_sent_again() {
    let site = Site::new(Route::default());
    let first = site.get("/files/a.txt", "");
    let (etag, date) = (first.header("etag").expect("a tag"), first.header("last-modified").expect("a date"));
    let status = |fields: String| site.get("/files/a.txt", &fields).status;
    assert_eq!(status(format!("if-none-match: {etag}\r\n")), 304);
    assert_eq!(status(format!("if-none-match: \"x\", W/{etag}\r\n")), 304);
    assert_eq!(status("if-none-match: *\r\n".into()), 304);
    assert_eq!(status(format!("if-modified-since: {date}\r\n")), 304);
    assert_eq!(
        status(format!("if-none-match: \"x\"\r\nif-modified-since: {date}\r\n")),
        200,
        "the tag counts"
    );
    let same = site.get("/files/a.txt", &format!("if-none-match: {etag}\r\n"));
    assert_eq!((same.text().as_str(), same.header("etag")), ("", Some(etag)));
}
