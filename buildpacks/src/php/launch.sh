#!/usr/bin/env bash
# heroku-php-nginx, heroku-php-apache2: PHP-FPM and a web server in front of it, until one of them ends.
# Options and defaults by Dev Center "Customizing Web Server and Runtime Settings for PHP".
set -u
name=$(basename "$0")
usage() {
  cat <<USAGE
Usage: $name [options] [DOCUMENT_ROOT]

  -C FILE  configuration included in the web server's default server or host
  -c FILE  configuration of the web server in place of the default
  -F FILE  configuration included at the end of PHP-FPM's
  -f FILE  configuration of PHP-FPM in place of the default
  -i FILE  php.ini in place of the default
  -l FILE  one more log file to copy to the output; may be given several times
  -p PORT  the port, \$PORT by default
  -t       test the configuration and end
  -v       say what is done
  -h       this text

Files that end in .php are run by PHP, and what they print is used. DOCUMENT_ROOT is the app's folder by default.

Example: $name -C nginx.conf public/
USAGE
}
fail() { echo "$name: $*" >&2; exit 1; }
here=$(dirname "$(realpath "$0")")
prefix=$(dirname "$here")
php=$here/php
fpm=$here/php-fpm
app=${HOME:-$PWD}
include="" config="" fpm_include="" fpm_config="" ini="" port=${PORT:-} test="" verbose=""
logs=()
while getopts ":C:c:F:f:i:l:p:tvh" o; do
  case $o in
    C) include=$OPTARG ;;
    c) config=$OPTARG ;;
    F) fpm_include=$OPTARG ;;
    f) fpm_config=$OPTARG ;;
    i) ini=$OPTARG ;;
    l) logs+=("$OPTARG") ;;
    p) port=$OPTARG ;;
    t) test=1 ;;
    v) verbose=1 ;;
    h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
[ -n "$port" ] || fail "\$PORT is not set, and there is no option -p"
case $port in *[!0-9]*) fail "the port is $port, which is no number" ;; esac
root=${1:-}
case $root in /*) ;; *) root=$app/$root ;; esac
root=${root%/}
[ -d "$root" ] || fail "the document root $root does not exist"
[ -x "$fpm" ] || fail "this machine has no PHP-FPM; the operator can mend it: apt-get install php-fpm"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/$name.XXXXXX")

# Gives the absolute path of a configuration file, what a template prints in a file of its own.
resolve() {
  local f=$1
  case $f in /*) ;; *) f=$app/$f ;; esac
  [ -f "$f" ] || fail "the file $1 does not exist"
  case $f in
    *.php)
      local out
      out=$tmp/$(basename "$f" .php)
      DOCUMENT_ROOT=$root PORT=$port "$php" "$f" >"$out" || fail "the template $1 failed"
      f=$out
      ;;
  esac
  printf '%s' "$f"
}
take() { [ -z "$1" ] || resolve "$1"; }
include=$(take "$include") || exit 1
config=$(take "$config") || exit 1
fpm_include=$(take "$fpm_include") || exit 1
fpm_config=$(take "$fpm_config") || exit 1
ini=$(take "$ini") || exit 1

# One worker for each memory_limit that fits into the dyno.
# shellcheck disable=SC2016
limit=$(cd "$root" && "$php" ${ini:+-c "$ini"} -r '
  $i = is_file(".user.ini") ? parse_ini_file(".user.ini") : [];
  $l = $i["memory_limit"] ?? ini_get("memory_limit");
  if (PHP_SAPI === "cli" && !isset($i["memory_limit"]) && $l === "-1") $l = "128M";
  $n = (int)$l; $u = strtoupper(substr(trim($l), -1));
  $n *= $u === "G" ? 1024 : ($u === "M" ? 1 : ($u === "K" ? 1 / 1024 : 1 / 1048576));
  echo max(1, (int)$n);' 2>/dev/null) || limit=128
memory=${DYNO_RAM:-512}
if [ -z "${WEB_CONCURRENCY:-}" ]; then
  WEB_CONCURRENCY=$((memory / (limit > 0 ? limit : 128)))
  [ "$WEB_CONCURRENCY" -ge 1 ] || WEB_CONCURRENCY=1
fi
export WEB_CONCURRENCY
socket=/tmp/heroku.fcgi.$port.sock

if [ -z "$fpm_config" ]; then
  fpm_config=$tmp/php-fpm.conf
  {
    echo "[global]
error_log = /proc/self/fd/2
log_level = warning
daemonize = no
[www]
listen = $socket
pm = ondemand
pm.max_children = $WEB_CONCURRENCY
pm.process_idle_timeout = 60s
catch_workers_output = yes
decorate_workers_output = no
clear_env = no
php_admin_flag[log_errors] = on
php_admin_value[error_log] = /proc/self/fd/2
php_flag[display_errors] = off
php_flag[expose_php] = off"
    if [ "$(id -u)" = 0 ]; then printf 'user = root\ngroup = root\nlisten.mode = 0666\n'; fi
    if [ -n "$fpm_include" ]; then echo "include = $fpm_include"; fi
  } >"$fpm_config"
fi

out=/dev/stdout
# a stream that can't be opened anew can't be a log file
{ : >>"$out"; } 2>/dev/null || out=$tmp/access.log

nginx_config() {
  local mime=$prefix/mime.types
  [ -f "$mime" ] || mime=/etc/nginx/mime.types
  local block='location / { index index.php index.html index.htm; }'
  if [ -n "$include" ]; then block="include \"$include\";"; fi
  cat <<NGINX
daemon off;
pid $tmp/nginx.pid;
worker_processes 1;
error_log stderr;
events { worker_connections 1024; }
http {
  include $mime;
  default_type application/octet-stream;
  sendfile on;
  keepalive_timeout 95;
  server_tokens off;
  client_max_body_size 0;
  fastcgi_buffers 256 4k;
  fastcgi_read_timeout 3600;
  client_body_temp_path $tmp/body;
  proxy_temp_path $tmp/proxy;
  fastcgi_temp_path $tmp/fastcgi;
  uwsgi_temp_path $tmp/uwsgi;
  scgi_temp_path $tmp/scgi;
  access_log $out;
  map \$http_x_forwarded_proto \$heroku_https { default ""; https on; }
  upstream heroku-fcgi { server unix:$socket max_fails=0; }
  server {
    listen $port;
    server_name localhost;
    port_in_redirect off;
    absolute_redirect off;
    root "$root";
    fastcgi_param GATEWAY_INTERFACE CGI/1.1;
    fastcgi_param SERVER_SOFTWARE nginx;
    fastcgi_param SERVER_PROTOCOL \$server_protocol;
    fastcgi_param SERVER_NAME \$http_host;
    fastcgi_param SERVER_ADDR \$server_addr;
    fastcgi_param SERVER_PORT \$server_port;
    fastcgi_param REMOTE_ADDR \$remote_addr;
    fastcgi_param REMOTE_PORT \$remote_port;
    fastcgi_param REQUEST_METHOD \$request_method;
    fastcgi_param REQUEST_URI \$request_uri;
    fastcgi_param REQUEST_SCHEME \$scheme;
    fastcgi_param QUERY_STRING \$query_string;
    fastcgi_param CONTENT_TYPE \$content_type;
    fastcgi_param CONTENT_LENGTH \$content_length;
    fastcgi_param DOCUMENT_ROOT \$document_root;
    fastcgi_param DOCUMENT_URI \$document_uri;
    fastcgi_param SCRIPT_NAME \$fastcgi_script_name;
    fastcgi_param SCRIPT_FILENAME \$document_root\$fastcgi_script_name;
    fastcgi_param PATH_INFO \$fastcgi_path_info;
    fastcgi_param HTTPS \$heroku_https if_not_empty;
    fastcgi_param REDIRECT_STATUS 200;
    fastcgi_param HTTP_PROXY "";
    $block
    location ~ /\.(?!well-known) { deny all; }
    location ~ \.php(/|$) {
      fastcgi_split_path_info ^(.+?\.php)(/.*)?$;
      if (!-f \$document_root\$fastcgi_script_name) { return 404; }
      fastcgi_pass heroku-fcgi;
    }
  }
}
NGINX
}

apache_config() {
  local modules=/usr/lib/apache2/modules m
  [ -d "$modules" ] || modules=/usr/lib64/httpd/modules
  echo "ServerRoot $tmp
DefaultRuntimeDir $tmp
PidFile $tmp/apache.pid
ServerName localhost
Listen $port"
  for m in mpm_event access_compat actions alias auth_basic authn_core authn_file authz_core authz_host authz_user \
    autoindex deflate dir env expires ext_filter filter headers log_config logio mime negotiation proxy proxy_fcgi \
    remoteip reqtimeout rewrite setenvif substitute unixd version; do
    # some are compiled in, which differs between distributions
    if [ -f "$modules/mod_$m.so" ]; then echo "<IfModule !${m}_module>
LoadModule ${m}_module $modules/mod_$m.so
</IfModule>"; fi
  done
  echo "TypesConfig /etc/mime.types
ErrorLog /proc/self/fd/2
LogLevel warn
LogFormat \"%h %l %u %t \\\"%r\\\" %>s %b\" hokku
CustomLog $out hokku
ServerTokens Prod
TraceEnable off
Timeout 3600
KeepAliveTimeout 95
SetEnvIf X-Forwarded-Proto https HTTPS=on
DocumentRoot \"$root\"
DirectoryIndex index.php index.html index.htm
<Directory />
AllowOverride None
Require all denied
</Directory>
<Directory \"$root\">
Options FollowSymLinks
AllowOverride All
Require all granted
</Directory>
<FilesMatch \"^\.(?!well-known)\">
Require all denied
</FilesMatch>
<Proxy \"unix:$socket|fcgi://heroku-fcgi\">
ProxySet flushpackets=on
</Proxy>
<FilesMatch \"\.php$\">
<If \"-f %{REQUEST_FILENAME}\">
SetHandler \"proxy:unix:$socket|fcgi://heroku-fcgi\"
</If>
</FilesMatch>"
  if [ -n "$include" ]; then echo "Include \"$include\""; fi
}

server=nginx
case $name in *apache2)
  if [ -x "$here/apache2" ]; then server=apache2; else
    echo "$name: this machine has no Apache; nginx is used, which does not read .htaccess files" >&2
  fi ;;
esac
[ -x "$here/$server" ] || fail "this machine has no nginx; the operator can mend it: apt-get install nginx-light"
if [ -z "$config" ]; then
  config=$tmp/$server.conf
  if [ "$server" = nginx ]; then nginx_config >"$config"; else apache_config >"$config"; fi
fi
if [ -n "$verbose" ]; then
  echo "$name: $server on port $port for $root; $WEB_CONCURRENCY workers of PHP; configuration in $tmp" >&2
fi
as_root=
[ "$(id -u)" != 0 ] || as_root=--allow-to-run-as-root
# Each takes the place of a shell of its own, so that signals reach it.
start_fpm() { exec "$fpm" --nodaemonize $as_root ${ini:+-c "$ini"} --fpm-config "$fpm_config" "$@"; }
start_server() {
  if [ "$server" = nginx ]; then exec "$here/nginx" -p "$tmp" -e stderr -c "$config" "$@"
  else exec "$here/apache2" -D FOREGROUND -f "$config" "$@"; fi
}
if [ -n "$test" ]; then
  (start_fpm -t) && (start_server -t)
  status=$?
  rm -rf "$tmp"
  exit $status
fi
pids=()
server_pid=
end() {
  local fpm_by=TERM server_by=TERM
  if [ -n "$stopping" ]; then
    # both end what they are doing
    fpm_by=QUIT server_by=QUIT
    [ "$server" = nginx ] || server_by=WINCH
  fi
  kill -$fpm_by "$fpm_pid" 2>/dev/null
  [ -z "$server_pid" ] || kill -$server_by "$server_pid" 2>/dev/null
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
}
trap 'stopping=1; end' TERM INT
stopping=
if [ "$out" != /dev/stdout ]; then : >"$out"; logs+=("$out"); fi
for l in "${logs[@]}"; do
  mkdir -p "$(dirname "$l")" && touch "$l"
  tail -qn 0 -F "$l" &
  pids+=($!)
done
rm -f "$socket"
start_fpm &
fpm_pid=$!
for _ in $(seq 200); do
  [ -S "$socket" ] && break
  kill -0 "$fpm_pid" 2>/dev/null || break
  sleep 0.02
done
if kill -0 "$fpm_pid" 2>/dev/null; then
  start_server &
  server_pid=$!
  wait -n "$fpm_pid" "$server_pid"
  status=$?
else
  wait "$fpm_pid"
  status=$?
fi
[ -n "$stopping" ] || echo "$name: PHP-FPM or $server ended with status $status; ending the other" >&2
end
wait $fpm_pid $server_pid 2>/dev/null
rm -rf "$tmp" "$socket"
if [ -n "$stopping" ]; then exit 0; fi
[ "$status" -ne 0 ] || status=1
exit "$status"
