# A tree of a hundred files: two commits, what changed between them, and all packed.
set -e
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z' GIT_CONFIG_NOSYSTEM=1 HOME=$PWD
cd linux
git init -q -b main
git config user.name A
git config user.email a@example.org
git config gc.auto 0
git add .
git commit -q -m first
sed -i 's/struct/Struct/' [a-b]*.h
rm d*.h
git add -A
git commit -q -m second
git diff --stat HEAD~ | tail -1
git log -p --all | wc
git status --short | wc -l
git gc -q
git fsck 2>/dev/null | wc -l
