#!/bin/sh
# Usage: benchmarks/debian.sh bookworm|trixie|forky
#
# Install the service on the Python of a Debian release: 3.11, 3.13, 3.14. Debian's are built alike,
# with profiles, which interpreters that somebody compiled often are not. Prints the interpreter's
# path for the option `--pythons` of the benchmark. Needs root and debootstrap.
set -eu
release=$1
project=$(cd "$(dirname "$0")/.." && pwd)
tree=${XDG_CACHE_HOME:-$HOME/.cache}/service-$release
python=$project/.venv-$release/python

if [ ! -d "$tree" ]; then
    debootstrap --variant=minbase --include=ca-certificates,make,python3,python3-venv \
        "$release" "$tree.part" "" /usr/share/debootstrap/scripts/sid >&2
    mv "$tree.part" "$tree"
fi
mkdir -p "$project/.venv-$release" "$tree$project"
for file in /etc/hosts /etc/pip.conf /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do
    if [ -e "$file" ]; then cp "$file" "$tree$file"; fi
done

# The project and PostgreSQL's socket are seen in the tree where they are outside.
cat > "$python" <<END
#!/bin/sh
exec unshare --mount sh -ec '
    mount -t proc proc "\$0/proc"
    mount --rbind /dev "\$0/dev"
    mount --rbind /tmp "\$0/tmp"
    mount --rbind "$project" "\$0$project"
    exec chroot "\$0" /bin/sh -ec "cd $project && exec \"\\\$0\" \"\\\$@\"" "\$@"
' "$tree" "\${COMMAND:-$project/.venv-$release/bin/python}" "\$@"
END
chmod +x "$python"
COMMAND=make "$python" -s "$project/.venv-$release/.run" VENV="$project/.venv-$release" >&2
echo "$python"
