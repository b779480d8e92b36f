//! Java by Maven or Gradle: what an app needs, by Heroku's rules first (Dev Center "Heroku Java Support", "Deploying
//! Gradle Apps").

use crate::{runtime::Request, source::Source, version::Range};
use std::collections::BTreeMap;

/// Any of these at the root makes it an app that Maven builds.
pub const MAVEN: &[&str] = &[
    "pom.xml",
    "pom.atom",
    "pom.clj",
    "pom.groovy",
    "pom.rb",
    "pom.scala",
    "pom.yaml",
    "pom.yml",
];

/// Any of these at the root makes it an app that Gradle builds.
pub const GRADLE: &[&str] = &[
    "gradlew",
    "build.gradle",
    "build.gradle.kts",
    "settings.gradle",
    "settings.gradle.kts",
];

/// What builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// pom.xml
    Maven,
    /// build.gradle, build.gradle.kts
    Gradle,
}

/// What the app is made with, as far as it decides how it is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framework {
    /// One jar that takes `-Dserver.port`.
    SpringBoot,
    /// One jar that takes `-Dquarkus.http.port`.
    Quarkus,
    /// One jar that takes `-Dmicronaut.server.port`.
    Micronaut,
    /// No default.
    Other,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What builds.
    pub tool: Tool,
    /// The app brings the tool's own script (`mvnw`, `gradlew`).
    pub wrapper: bool,
    /// Which JDK.
    pub java: Request,
    /// Arguments of the tool, before those of the executor.
    pub arguments: Vec<String>,
    /// `settings.xml` of Maven.
    pub settings: Option<String>,
    /// What the app is made with.
    pub framework: Framework,
    /// For the build's output.
    pub warnings: Vec<String>,
}

/// Plans a build. `env` is what the build sees: the operator's environment and the config vars.
///
/// # Errors
/// Why the app can't be built, for its author.
pub fn plan(tool: Tool, source: &Source, env: &BTreeMap<String, String>) -> Result<Plan, String> {
    let mut warnings = vec![];
    let java = request(tool, source)?;
    if java.from.is_none() {
        warnings.push("No version of Java was specified; a later build may take another one. Better: echo java.runtime.version=17 > system.properties".into());
    }
    let get = |k: &str| env.get(k).map(|v| v.trim()).filter(|v| !v.is_empty());
    let words = |text: &str| {
        text.split_whitespace()
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let framework = framework(source);
    let (wrapper, arguments, settings) = match tool {
        Tool::Maven => {
            let wrapper = source.has("mvnw");
            if wrapper && !source.has(".mvn/wrapper/maven-wrapper.properties") {
                return Err("There is a mvnw, but no .mvn/wrapper/maven-wrapper.properties.\n\n\
                     Commit the folder .mvn/wrapper, or remove mvnw so that the host's Maven is used."
                    .into());
            }
            let mut arguments = words(get("MAVEN_CUSTOM_OPTS").unwrap_or("-DskipTests"));
            arguments.extend(words(
                get("MAVEN_CUSTOM_GOALS").unwrap_or("clean dependency:list install"),
            ));
            let settings = get("MAVEN_SETTINGS_PATH")
                .map(String::from)
                .or_else(|| source.has("settings.xml").then(|| "settings.xml".into()));
            (wrapper, arguments, settings)
        }
        Tool::Gradle => {
            let wrapper = source.has("gradlew");
            if wrapper && !source.has("gradle/wrapper/gradle-wrapper.jar") {
                return Err("There is a gradlew, but no gradle/wrapper/gradle-wrapper.jar.\n\n\
                     Commit it (git add -f gradle/wrapper/gradle-wrapper.jar), or remove gradlew so that the host's Gradle is used."
                    .into());
            }
            let text = build_text(source);
            let arguments = match get("GRADLE_TASK") {
                Some(t) => words(t),
                None if has_stage(&text) => words("stage"),
                None if framework != Framework::Other => words("build -x test"),
                None if text.contains("io.ratpack.ratpack-java") => words("installDist -x test"),
                None => {
                    warnings.push("No task \"stage\" was found in the build script, and no framework that is known; 'build -x test' is run. Set GRADLE_TASK to run another.".into());
                    words("build -x test")
                }
            };
            (wrapper, arguments, None)
        }
    };
    Ok(Plan {
        tool,
        wrapper,
        java,
        arguments,
        settings,
        framework,
        warnings,
    })
}

fn build_text(source: &Source) -> String {
    ["build.gradle", "build.gradle.kts"]
        .iter()
        .filter_map(|f| source.text(f))
        .collect()
}

fn has_stage(text: &str) -> bool {
    text.lines().map(str::trim).any(|l| {
        let l = l.replace(['(', ')', '"', '\'', ','], " ");
        let words: Vec<&str> = l.split_whitespace().collect();
        matches!(words[..], ["task", n, ..] if n.trim_end_matches('{') == "stage")
            || matches!(words[..], ["tasks.register" | "tasks.create", "stage", ..])
    })
}

/// By the build script, as heroku-buildpack-java and -gradle do.
fn framework(source: &Source) -> Framework {
    let text = format!(
        "{}{}",
        source.text("pom.xml").unwrap_or_default(),
        build_text(source)
    );
    if text.contains("org.springframework.boot") {
        Framework::SpringBoot
    } else if text.contains("io.quarkus") {
        Framework::Quarkus
    } else if text.contains("io.micronaut") {
        Framework::Micronaut
    } else {
        Framework::Other
    }
}

fn request(tool: Tool, source: &Source) -> Result<Request, String> {
    let named = |text: &str, file: &str| -> Result<Request, String> {
        // zulu-17.0.15, openjdk-21, temurin-17, 1.8
        let bare = text
            .rsplit('-')
            .next()
            .unwrap_or(text)
            .trim()
            .trim_start_matches('v');
        let bare = bare.strip_prefix("1.").unwrap_or(bare);
        let n: Option<Vec<u32>> = bare
            .split(['.', '_', '+'])
            .take(3)
            .map(|p| p.parse().ok())
            .collect();
        let range = match n.as_deref() {
            Some([a]) => Range::npm(&a.to_string())?,
            Some([8, c]) => Range::prefix(8, 0, Some(*c)),
            Some([a, b]) => Range::prefix(*a, *b, None),
            Some([8, 0, c]) => Range::prefix(8, 0, Some(*c)),
            Some([a, b, c]) => Range::prefix(*a, *b, Some(*c)),
            _ => {
                return Err(format!(
                    "{file} asks for Java {text:?}, which is no version.\n\nExpected a line such as:\n    java.runtime.version=17"
                ));
            }
        };
        Ok(Request {
            range,
            text: text.to_owned(),
            from: Some(file.to_owned()),
        })
    };
    if let Some(text) = source.text("system.properties") {
        let value = text.lines().map(str::trim).find_map(|l| {
            let rest = l.strip_prefix("java.runtime.version")?.trim_start();
            rest.strip_prefix(['=', ':'])
                .or(Some(rest))
                .map(|v| v.trim().to_owned())
        });
        if let Some(v) = value {
            return named(&v, "system.properties");
        }
    }
    // only where Heroku would take its default
    if let Some(text) = source.text(".java-version") {
        return named(text.trim(), ".java-version");
    }
    let tools = source.text(".tool-versions").unwrap_or_default();
    if let Some(v) = tools.lines().find_map(|l| l.trim().strip_prefix("java ")) {
        return named(v.trim(), ".tool-versions");
    }
    if let Some(text) = source.text(".sdkmanrc")
        && let Some(v) = text.lines().find_map(|l| l.trim().strip_prefix("java="))
    {
        // 17.0.15-tem
        return named(v.split('-').next().unwrap_or(v), ".sdkmanrc");
    }
    let asked = match tool {
        Tool::Maven => {
            let pom = source.text("pom.xml").unwrap_or_default();
            [
                "java.version",
                "maven.compiler.release",
                "maven.compiler.target",
            ]
            .iter()
            .find_map(|t| {
                let v = pom.split(&format!("<{t}>")).nth(1)?.split('<').next()?;
                at_least(v.trim())
            })
        }
        Tool::Gradle => build_text(source)
            .split("JavaLanguageVersion.of(")
            .nth(1)
            .and_then(|r| r.split(')').next())
            .and_then(|v| at_least(v.trim())),
    };
    Ok(match asked {
        // a newer JDK compiles for an older release
        Some(major) => Request {
            range: Range::npm(&format!(">={major}"))?,
            text: format!("{major} or newer"),
            from: None,
        },
        None => Request::any(),
    })
}

fn at_least(text: &str) -> Option<u32> {
    text.strip_prefix("1.").unwrap_or(text).parse().ok()
}

/// A jar that a build left: its path relative to the app, and its bytes.
pub type Jar = (String, u64);

/// The default web process (heroku-buildpack-java and -gradle, `bin/release`): the biggest jar of a framework that is
/// known, on `$PORT`.
pub fn web(source: &Source, jars: &[Jar]) -> Option<String> {
    let framework = framework(source);
    let runner = "quarkus-app/quarkus-run.jar";
    let jar = match framework {
        Framework::Other => return None,
        Framework::Quarkus if jars.iter().any(|(p, _)| p.ends_with(runner)) => {
            jars.iter().find(|(p, _)| p.ends_with(runner))
        }
        _ => jars
            .iter()
            .filter(|(p, _)| {
                let name = p.rsplit('/').next().unwrap_or(p);
                !["-sources.jar", "-javadoc.jar", "-plain.jar", "-tests.jar"]
                    .iter()
                    .any(|e| name.ends_with(e))
                    && !name.starts_with("original-")
            })
            .max_by_key(|(_, bytes)| *bytes),
    }?;
    let property = match framework {
        Framework::SpringBoot => "server.port",
        Framework::Quarkus => "quarkus.http.port",
        Framework::Micronaut | Framework::Other => "micronaut.server.port",
    };
    Some(format!("java -D{property}=$PORT $JAVA_OPTS -jar {}", jar.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Version;

    fn with(tool: Tool, files: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Plan, String> {
        let env = env
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        plan(tool, &Source::of(files.iter().copied()), &env)
    }

    #[test]
    fn which_java() {
        let holds = |file: &str, text: &str, v: &str| {
            let p = with(Tool::Maven, &[("pom.xml", ""), (file, text)], &[]).unwrap();
            p.java.range.holds(v.parse().unwrap())
        };
        let sp = "system.properties";
        assert!(holds(sp, "java.runtime.version=17", "17.0.15"));
        assert!(!holds(sp, "java.runtime.version=17", "21.0.1"));
        assert!(holds(
            sp,
            "maven.version=3.9\njava.runtime.version = 1.8\n",
            "8.0.392"
        ));
        assert!(holds(sp, "java.runtime.version=zulu-17.0.15", "17.0.15"));
        assert!(!holds(sp, "java.runtime.version=17.0.15", "17.0.16"));
        assert!(holds(".java-version", "21\n", "21.0.3"));
        assert!(holds(
            ".tool-versions",
            "java temurin-17.0.15+6\n",
            "17.0.15"
        ));
        assert!(holds(".sdkmanrc", "java=17.0.15-tem\n", "17.0.15"));
        let pom = "<properties><java.version>11</java.version></properties>";
        let p = with(Tool::Maven, &[("pom.xml", pom)], &[]).unwrap();
        assert!(p.java.range.holds(Version(17, 0, 15)) && !p.java.range.holds(Version(8, 0, 1)));
        assert_eq!(p.warnings.len(), 1);
        assert!(
            with(Tool::Maven, &[(sp, "java.runtime.version=new")], &[])
                .unwrap_err()
                .contains("\"new\"")
        );
    }

    #[test]
    fn what_is_run() {
        let args = |tool, files: &[(&str, &str)], env: &[(&str, &str)]| {
            with(tool, files, env).unwrap().arguments.join(" ")
        };
        assert_eq!(
            args(Tool::Maven, &[("pom.xml", "")], &[]),
            "-DskipTests clean dependency:list install"
        );
        assert_eq!(
            args(
                Tool::Maven,
                &[("pom.xml", "")],
                &[
                    ("MAVEN_CUSTOM_GOALS", "package"),
                    ("MAVEN_CUSTOM_OPTS", "-Pprod")
                ]
            ),
            "-Pprod package"
        );
        for (script, want) in [
            ("task stage(dependsOn: ['build'])", "stage"),
            ("tasks.register('stage') {", "stage"),
            ("tasks.register(\"stage\") {", "stage"),
            ("task stage {", "stage"),
            ("id 'org.springframework.boot'", "build -x test"),
            ("id 'io.ratpack.ratpack-java'", "installDist -x test"),
            ("task stages {}", "build -x test"),
        ] {
            assert_eq!(
                args(Tool::Gradle, &[("build.gradle", script)], &[]),
                want,
                "{script}"
            );
        }
        assert_eq!(
            args(
                Tool::Gradle,
                &[("build.gradle", "")],
                &[("GRADLE_TASK", "shadowJar")]
            ),
            "shadowJar"
        );
        let p = with(Tool::Maven, &[("pom.xml", ""), ("settings.xml", "")], &[]).unwrap();
        assert_eq!(p.settings.as_deref(), Some("settings.xml"));
    }

    #[test]
    fn mistakes() {
        let e = with(Tool::Maven, &[("pom.xml", ""), ("mvnw", "")], &[]).unwrap_err();
        assert!(e.contains("maven-wrapper.properties"), "{e}");
        let e = with(Tool::Gradle, &[("gradlew", "")], &[]).unwrap_err();
        assert!(e.contains("gradle-wrapper.jar"), "{e}");
    }

    #[test]
    fn the_web_process() {
        let w = |pom: &str, jars: &[(&str, u64)]| {
            let jars: Vec<Jar> = jars.iter().map(|(p, b)| (p.to_string(), *b)).collect();
            web(&Source::of([("pom.xml", pom)]), &jars)
        };
        let spring = "<groupId>org.springframework.boot</groupId>";
        assert_eq!(
            w(
                spring,
                &[
                    ("target/shop-sources.jar", 900),
                    ("target/lib.jar", 5),
                    ("target/shop.jar", 800)
                ]
            )
            .as_deref(),
            Some("java -Dserver.port=$PORT $JAVA_OPTS -jar target/shop.jar")
        );
        assert_eq!(
            w(
                "io.quarkus",
                &[
                    ("target/x.jar", 9),
                    ("target/quarkus-app/quarkus-run.jar", 1)
                ]
            )
            .as_deref(),
            Some(
                "java -Dquarkus.http.port=$PORT $JAVA_OPTS -jar target/quarkus-app/quarkus-run.jar"
            )
        );
        assert_eq!(w("", &[("target/x.jar", 9)]), None);
        assert_eq!(w(spring, &[]), None);
    }
}
