//! Java: an app built by Maven or Gradle, a JDK to run it, and its variables; what was downloaded stays in the cache.

use super::{
    context::{Context, mistake},
    fetch::{self, At, Kind, Runtime},
    out,
    python::MEMORY,
    spawn, tool,
};
use hokku_buildpacks::{
    java::{self, Framework, Jar, Plan, Tool},
    source::Source,
    tree::{self, How},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// Where the JDK is in the slug, as on Heroku.
const JDK: &str = ".jdk";

/// What the cache of downloads may hold before it starts afresh.
const CACHE: u64 = 3 << 30;

/// `bin/compile` of the Java and the Gradle buildpack.
pub fn compile(c: &Context, with: Tool) -> anyhow::Result<()> {
    let source = Source::read(&c.build)?;
    let plan = match java::plan(with, &source, &c.all()) {
        Ok(p) => p,
        Err(e) => return mistake(e),
    };
    for w in &plan.warnings {
        out::warning(w);
    }
    let runtime = fetch::find(Kind::Java, &plan.java, c)?;
    match &plan.java.from {
        Some(f) => out::step(&format!(
            "Using OpenJDK {} ({} in {f})",
            runtime.version, plan.java.text
        )),
        None => out::step(&format!("Using OpenJDK {}", runtime.version)),
    }
    install_jdk(c, &runtime)?;
    let build = Build {
        c,
        plan: &plan,
        path: vec![c.build.join(JDK).join("bin")],
    };
    let started = Instant::now();
    match with {
        Tool::Maven => build.maven()?,
        Tool::Gradle => build.gradle()?,
    }
    out::detail(&format!("Built in {:.2}s", started.elapsed().as_secs_f64()));
    let old = runtime.version.0 < 9;
    c.write_profile("jvm.sh", &profile(old), &export(c))?;
    if !c.build.join("Procfile").is_file() && web(&c.build).is_none() {
        out::warning(
            "there is no Procfile, and no framework that is known, so nothing will run. This line may be what it needs:\n    web: java $JAVA_OPTS -jar target/<name>.jar",
        );
    }
    Ok(())
}

/// The default web process, where there is no Procfile.
pub fn web(build: &Path) -> Option<String> {
    if build.join("Procfile").is_file() {
        return None;
    }
    let source = Source::read(build).ok()?;
    let mut jars: Vec<Jar> = vec![];
    for dir in [
        "target",
        "target/quarkus-app",
        "build/libs",
        "build/quarkus-app",
    ] {
        for e in fs::read_dir(build.join(dir))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = e.file_name().to_string_lossy().into_owned();
            let plain = name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
            if name.ends_with(".jar")
                && plain
                && let Ok(m) = e.metadata()
            {
                jars.push((format!("{dir}/{name}"), m.len()));
            }
        }
    }
    jars.sort();
    java::web(&source, &jars)
}

/// `/app/.jdk`: a link to the host's, or the whole JDK.
fn install_jdk(c: &Context, runtime: &Runtime) -> anyhow::Result<()> {
    let at = c.build.join(JDK);
    if at.symlink_metadata().is_ok() {
        return mistake(format!(
            "{JDK} is committed to the app's git repository.\n\n\
             It is where the build puts the JDK; remove it:\n    git rm -r --cached {JDK}"
        ));
    }
    match &runtime.at {
        At::Folder(dir) => {
            tree::replicate(dir, &c.link.join(JDK), How::Link)?;
        }
        At::Host(javac) => {
            let home = javac
                .parent()
                .and_then(Path::parent)
                .unwrap_or(Path::new("/usr"));
            symlink(home, at)?;
        }
    }
    Ok(())
}

struct Build<'a> {
    c: &'a Context,
    plan: &'a Plan,
    path: Vec<PathBuf>,
}

impl Build<'_> {
    fn command(&self, program: &Path) -> Command {
        let denied = ["JAVA_OPTS", "JAVA_TOOL_OPTIONS", "JAVA_HOME"];
        let mut p = tool::command(self.c, program, &self.path, &denied);
        p.env("JAVA_HOME", self.c.build.join(JDK));
        p
    }

    /// The app's own script, else the host's program.
    fn program(&self, wrapper: &str, name: &str, package: &str) -> anyhow::Result<PathBuf> {
        if self.plan.wrapper {
            let own = self.c.build.join(wrapper);
            let mode = fs::metadata(&own)?.permissions().mode();
            fs::set_permissions(&own, fs::Permissions::from_mode(mode | 0o111))?;
            return Ok(own);
        }
        match tool::on_host(&[name]) {
            Some(p) => Ok(p),
            None => mistake(format!(
                "The app has no {wrapper}, and this machine has no {name}.\n\n\
                 Commit the wrapper, or let the operator mend it: apt-get install {package}"
            )),
        }
    }

    fn maven(&self) -> anyhow::Result<()> {
        let c = self.c;
        let repository = c.cache.join("m2/repository");
        fs::create_dir_all(&repository)?;
        trim(&repository)?;
        if fs::read_dir(&repository)?.next().is_some() {
            out::step("Using cached dependencies: what Maven downloaded for the last build");
        }
        let program = self.program("mvnw", "mvn", "maven")?;
        let mut p = self.command(&program);
        p.arg("-B")
            .arg(format!("-Dmaven.repo.local={}", repository.display()));
        // the wrapper keeps what it downloads here
        p.env("MAVEN_USER_HOME", c.cache.join("m2"));
        let settings = match &self.plan.settings {
            Some(s) => Some(c.build.join(s)),
            None => match c.setting("MAVEN_SETTINGS_URL") {
                Some(url) => {
                    let to = c.cache.join("settings.xml");
                    if let Err(e) = fetch::curl(&url, Some(&to)) {
                        return mistake(format!(
                            "The settings of Maven can't be downloaded from MAVEN_SETTINGS_URL: {e}."
                        ));
                    }
                    Some(to)
                }
                None => None,
            },
        };
        if let Some(s) = settings {
            if !s.is_file() {
                return mistake(format!(
                    "MAVEN_SETTINGS_PATH names {}, which does not exist.",
                    s.display()
                ));
            }
            p.arg("-s").arg(s);
        }
        if let Some(o) = c.config("MAVEN_JAVA_OPTS") {
            p.env("MAVEN_OPTS", o);
        }
        p.args(&self.plan.arguments);
        out::step(&format!(
            "Executing Maven: {} -B {}",
            if self.plan.wrapper { "./mvnw" } else { "mvn" },
            self.plan.arguments.join(" ")
        ));
        let (status, said) = spawn::heard(p, "       ")?;
        if status.success() {
            return Ok(());
        }
        mistake(format!(
            "Failed to build the app with Maven.\n\nSee the log output above for more information.{}",
            spawn::out_of_reach(
                &said,
                "Maven Central",
                "Name a repository that can be reached in settings.xml."
            )
        ))
    }

    fn gradle(&self) -> anyhow::Result<()> {
        let c = self.c;
        let home = c.cache.join("gradle");
        fs::create_dir_all(&home)?;
        trim(&home)?;
        if home.join("caches").is_dir() {
            out::step("Using cached dependencies: what Gradle downloaded for the last build");
        }
        let program = self.program("gradlew", "gradle", "gradle")?;
        let mut p = self.command(&program);
        p.env("GRADLE_USER_HOME", &home)
            .args(["--no-daemon", "--console=plain"])
            .arg("--project-cache-dir")
            .arg(c.cache.join("gradle-project"))
            .args(&self.plan.arguments);
        out::step(&format!(
            "Executing Gradle: {} {}",
            if self.plan.wrapper {
                "./gradlew"
            } else {
                "gradle"
            },
            self.plan.arguments.join(" ")
        ));
        let (status, said) = spawn::heard(p, "       ")?;
        if status.success() {
            return Ok(());
        }
        mistake(format!(
            "Failed to build the app with Gradle.\n\nSee the log output above for more information.{}{}",
            if self.plan.framework == Framework::Other && said.contains("not found in root project")
            {
                "\nSet GRADLE_TASK to the task that builds the app."
            } else {
                ""
            },
            spawn::out_of_reach(
                &said,
                "the repository of the packages, or services.gradle.org,",
                "Name a repository that can be reached in the build script."
            )
        ))
    }
}

fn trim(dir: &Path) -> anyhow::Result<()> {
    if tree::look(dir).is_ok_and(|s| s.bytes > CACHE) {
        tree::remove(dir)?;
        fs::create_dir_all(dir)?;
    }
    Ok(())
}

fn export(c: &Context) -> String {
    let at = c.build.display();
    format!("export JAVA_HOME=\"{at}/{JDK}\"\nexport PATH=\"{at}/{JDK}/bin:$PATH\"\n")
}

/// Heap by memory and database addresses by heroku-buildpack-jvm-common (`opt/jvmcommon.sh`, `opt/jdbc.sh`). A database
/// on this machine is not asked for TLS, which a local PostgreSQL seldom has.
fn profile(old: bool) -> String {
    let container = if old { " -XX:+UseContainerSupport" } else { "" };
    format!(
        r#"export JAVA_HOME="$HOME/{JDK}"
export PATH="$HOME/{JDK}/bin:$PATH"
export LD_LIBRARY_PATH="$JAVA_HOME/lib/server${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
{MEMORY}if [ "$_mib" -le 512 ]; then _opts="-Xmx300m -Xss512k -XX:CICompilerCount=2"
elif [ "$_mib" -le 1024 ]; then _opts="-Xmx671m -XX:CICompilerCount=2"
elif [ "$_mib" -le 2560 ]; then _opts="-Xmx2g"
else _opts="-XX:MaxRAMPercentage=80.0"; fi
case " ${{JAVA_OPTS:-}} ${{JAVA_TOOL_OPTIONS:-}} " in
  *" -Xmx"*) _opts="" ;;
esac
export JAVA_OPTS="${{JAVA_OPTS:-$_opts}}"
case "$DYNO" in
  run.*) ;;
  *) export JAVA_TOOL_OPTIONS="${{JAVA_TOOL_OPTIONS:-$_opts -Dfile.encoding=UTF-8{container}}}" ;;
esac
_jdbc() {{
  local url=$1 prefix=$2 rest user="" pass="" more
  rest=${{url#*://}}
  case "$rest" in *@*) user=${{rest%%@*}}; rest=${{rest#*@}} ;; esac
  case "$user" in *:*) pass=${{user#*:}}; user=${{user%%:*}} ;; esac
  more=${{user:+user=$user&password=$pass}}
  local query=""
  case "$rest" in *\?*) query=${{rest#*\?}}; rest=${{rest%%\?*}} ;; esac
  local kind
  case "$url" in
    postgres*) kind=postgresql
      case "$query:${{rest%%[:/]*}}:${{CI:-}}" in
        *sslmode=*|*:localhost:*|*:127.*:*|*:true) ;;
        *) query="${{query:+$query&}}sslmode=require" ;;
      esac ;;
    *) kind=mysql; query="${{query:+$query&}}reconnect=true" ;;
  esac
  local jdbc="jdbc:$kind://$rest?$query${{query:+${{more:+&}}}}$more"
  export "${{prefix}}_URL=$jdbc" "${{prefix}}_USERNAME=$user" "${{prefix}}_PASSWORD=$pass"
}}
case "${{DATABASE_URL:-}}" in
  postgres://*|postgresql://*|mysql://*)
    [ -n "${{JDBC_DATABASE_URL:-}}" ] || _jdbc "$DATABASE_URL" JDBC_DATABASE
    if [ -z "${{SPRING_DATASOURCE_URL:-}}" ] && [ "${{DISABLE_SPRING_DATASOURCE_URL:-}}" != true ]; then
      export SPRING_DATASOURCE_URL="$JDBC_DATABASE_URL" SPRING_DATASOURCE_USERNAME="${{JDBC_DATABASE_USERNAME:-}}" SPRING_DATASOURCE_PASSWORD="${{JDBC_DATABASE_PASSWORD:-}}"
    fi ;;
esac
if [ -n "${{REDIS_URL:-}}" ]; then export SPRING_REDIS_URL="${{SPRING_REDIS_URL:-$REDIS_URL}}"; fi
unset -f _jdbc
unset _mib _opts
"#
    )
}
