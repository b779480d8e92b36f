//! Which buildpacks build an app: `app buildpacks`, what an app names itself, and classic ones by reference. The
//! contract that a buildpack sees is asserted by those of `buildpacks/tests/conformance`.

use crate::support::{Host, Repo, Settings};

const PACKS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../buildpacks/tests/conformance"
);

/// A host whose operator has given names to the conformance buildpacks.
fn host() -> Host {
    let at = std::fs::canonicalize(PACKS).expect("the buildpacks are there");
    let at = at.display();
    Host::start_with(Settings {
        more: format!(
            "[build]\nbuildpacks = {{ \"test/first\" = \"{at}/first\", \"test/second\" = \"{at}/second\" }}\n"
        ),
        ..Settings::default()
    })
}

fn conforming<'a>(host: &'a Host, app: &str) -> Repo<'a> {
    let repo = host.create(app);
    repo.write("conformance", "");
    repo.write("index.html", "version one\n");
    repo.commit("First");
    let vars = [
        "DATABASE_URL=postgres://me:p%40ss@db/shop",
        "LINES_AND_QUOTES=one\n\"two\" $three\n\n",
        "EMPTY=",
    ];
    host.app(&[&["config:set", "-a", app][..], &vars].concat())
        .ok();
    repo
}

#[test]
fn classic_buildpacks_in_order() {
    let host = host();
    let repo = conforming(&host, "shop");
    let add = |args: &[&str]| {
        let args = [&["buildpacks:add", "-a", "shop"], args].concat();
        host.app(&args).ok()
    };
    add(&["test/second"]).says("Next release on shop will use test/second.");
    add(&["test/first", "--index", "1"]).says("  1. test/first\n  2. test/second\n");
    let pushed = repo.push().ok();
    for line in [
        "Using buildpacks:",
        "First app detected",
        "builds at /app",
        "builds so far: 0",
        "Second app detected",
    ] {
        assert!(pushed.err().contains(line), "{line}: {pushed}");
    }
    assert_eq!(host.get("shop", "/index.html").text(), "version one\n");
    // .profile.d by name, whoever wrote what
    let order = host.app(&["run", "-a", "shop", "echo order $ORDER"]).ok();
    assert!(order.out().contains("order 012"), "{order}");

    // a build that fails leaves the cache as it was
    repo.write("fail", "7");
    repo.commit("Break");
    repo.push().fails().says("builds so far: 1");
    repo.write("fail", "8");
    repo.commit("Break again");
    repo.push().fails().says("builds so far: 1");
    std::fs::remove_file(repo.dir.join("fail")).expect("it is there");
    repo.write("index.html", "version two\n");
    repo.commit("Mend");
    repo.push().ok().says("builds so far: 1");
    assert_eq!(host.get("shop", "/index.html").text(), "version two\n");
}

#[test]
fn the_list_of_buildpacks() {
    let host = Host::start();
    let repo = host.create("shop");
    repo.write_sample("static");
    repo.commit("First");
    let app = |args: &[&str]| host.app(&[args, &["-a", "shop"]].concat());
    app(&["buildpacks"]).ok().says("shop has no Buildpacks.");
    repo.push().ok().says("because of index.html");
    // what was detected is pinned, and shown
    app(&["buildpacks"])
        .ok()
        .says("=== shop Buildpack\n\nhokku/static");
    app(&["buildpacks:set", "heroku/python"])
        .ok()
        .says("Buildpack set. Next release on shop will use heroku/python.");
    repo.write("style.css", "");
    repo.commit("Second");
    repo.push()
        .fails()
        .says("App not compatible with buildpack: heroku/python")
        .says("There is no requirements.txt");
    assert_eq!(host.get("shop", "/").status, 200);
    app(&["buildpacks:add", "heroku/python"])
        .fails()
        .says("The buildpack heroku/python is already set on your app.");
    app(&["buildpacks:add", "x y"])
        .fails()
        .says("neither the name nor the URL");
    app(&["buildpacks:set", "heroku/go", "-i", "0"])
        .fails()
        .says("Invalid index. Must be greater than 0.");
    app(&["buildpacks:add", "heroku/go"]).ok();
    let json: serde_json::Value =
        serde_json::from_str(&app(&["buildpacks", "--json"]).ok().out()).expect("JSON");
    assert_eq!(json[1]["buildpack"]["url"], "heroku/go");
    app(&["buildpacks:remove", "-i", "3"])
        .fails()
        .says("Please choose a value between 1 and 2");
    app(&["buildpacks:remove", "-i", "1"])
        .ok()
        .says("Next release on shop will use heroku/go.");
    app(&["buildpacks:remove", "heroku/ruby"])
        .fails()
        .says("Buildpack not found. Nothing was removed.");
    app(&["buildpacks:clear"])
        .ok()
        .says("Next release on shop will detect buildpacks normally.");
    repo.push().ok().says("Static app detected");
}
