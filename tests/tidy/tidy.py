#!/usr/bin/env python3
"""Checks the style rules that a machine can check; prints one line per breach and exits 1 if there is any.

usage: tidy.py [--headers] [SOURCE_DIRECTORY]
       tidy.py --sort-includes FILE...

--headers also compiles every header alone. Known exceptions stand in exceptions.txt, `rule path [detail]`, and may
only shrink: an exception that is not needed any more is a breach too.
"""
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

COMMON_ORDER = ["base", "config", "crypto", "compress", "linear", "wire", "http", "block", "catalog", "aggregate",
                "log", "history", "store", "model", "coordination", "client"]
LAYERS = ["speed", "serving", "batch", "cluster"]
# Third-party header -> the one folder that may include it.
OWNERS = {
    "zmq.h": "common/wire", "protobuf-c/": "common/wire", ".pb-c.h": "common/wire", "sodium.h": "common/crypto",
    "rocksdb/": "common/store", "mpi.h": "batch", "zookeeper/": "common/coordination", "microhttpd.h": "common/http",
    "jansson.h": "common/base", "xxhash.h": "common/base", "cyaml/": "common/config", "zstd.h": "common/compress",
    "lz4.h": "common/compress", "zlib.h": "common/compress", "cblas.h": "common/linear", "lapacke.h": "common/linear",
    "readline/": "cluster",
}
BANNED = {
    "strcpy": "ab_buffer or memcpy", "strcat": "ab_buffer", "sprintf": "snprintf or ab_buffer_put_format",
    "vsprintf": "vsnprintf", "atoi": "ab_bigint_parse", "atol": "ab_bigint_parse", "atof": "ab_double_parse",
    "rand": "ab_random", "srand": "ab_random", "random": "ab_random", "time": "ab_time_now", "gets": "ab_file",
    "malloc": "ab_memory, ab_arena or ab_new", "calloc": "ab_memory, ab_arena or ab_new",
    "realloc": "ab_memory_resize or ab_renew_bytes", "free": "ab_memory_free or ab_delete", "strtok": "ab_bytes",
    "alloca": "ab_arena", "fork": "posix_spawn: RocksDB does not survive a fork",
}
# Where memory of the system allocator is met: base wraps it, and libraries hand it out.
ALLOCATOR_FOLDERS = ("common/base/", "common/store/", "common/wire/", "common/config/", "common/catalog/")
README_HEADINGS = ["## Files in reading order", "## Types to know", "## Threads", "## Invariants", "## Must not know"]
LINE_MAX, FUNCTION_MAX, FILE_MAX, HEADER_MAX, CMAKE_MAX = 120, 70, 1000, 250, 40
PROMISES = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
FOREIGN_WORDS = re.compile(r"(?i)\b(language model|LLM|chatbot|/work/|subagent)\b")

breaches = []


def breach(rule, path, line, text):
    breaches.append((rule, path, line, text))


def source_files(root):
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], capture_output=True,
                            text=True)
    names = listed.stdout.split("\n") if listed.returncode == 0 else [
        os.path.relpath(os.path.join(d, f), root) for d, _, fs in os.walk(root) for f in fs]
    return sorted(n for n in names if n and os.path.isfile(os.path.join(root, n)))


def strip_comments_and_strings(text):
    """Blanks comments and literals, keeping line breaks and length."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check_includes(path, text):
    folder = os.path.dirname(path)
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        name = found.group(2)
        if ".." in name.split("/"):
            breach("include-path", path, number, f"{name}: includes are relative to the root")
        for header, owner in OWNERS.items():
            owned = header in name if header.startswith(".") or header.endswith("/") else name == header
            if owned and not path.startswith(owner + "/") and not path.startswith(f"tests/unit/{owner}/") \
                    and not path.startswith("tests/support/"):
                breach("owner", path, number, f"{name} belongs to {owner}")
        if found.group(1) == '"' and not path.startswith("tests/"):
            check_direction(path, folder, number, name)


def include_rank(path, bracket, name):
    """Place of an include in the block: own header, own folder, the project, third party, C library."""
    if bracket == '"':
        own = re.sub(r"\.c$", ".h", path)
        if name == own:
            return 0
        return 1 if os.path.dirname(name) == os.path.dirname(path) else 2
    third_party = any(name.startswith(h) if h.endswith("/") else name == h for h in OWNERS if not h.startswith("."))
    return 3 if third_party else 4


def check_include_order(path, text):
    last, last_name = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        rank = include_rank(path, found.group(1), found.group(2))
        if rank < last:
            breach("include-order", path, number, f"{found.group(2)} stands after {last_name}: own header, own folder, "
                   "common/, third party, C library")
            return
        last, last_name = rank, found.group(2)


def sort_includes(path):
    """Puts the first block of includes of a file in order, one group for each rank."""
    lines = open(path, encoding="utf-8").read().split("\n")
    pattern = re.compile(r'#\s*include\s+([<"])([^>"]+)[>"]')
    first = next((n for n, line in enumerate(lines) if pattern.match(line)), None)
    if first is None:
        return
    last = first
    while last + 1 < len(lines) and (lines[last + 1] == "" or pattern.match(lines[last + 1])):
        last += 1
    while lines[last] == "":
        last -= 1
    groups = [[], [], [], [], []]
    for line in lines[first:last + 1]:
        if line:
            found = pattern.match(line)
            groups[include_rank(path, found.group(1), found.group(2))].append(line)
    block = "\n\n".join("\n".join(sorted(group)) for group in groups if group).split("\n")
    text = "\n".join(lines[:first] + block + lines[last + 1:])
    if text != "\n".join(lines):
        open(path, "w", encoding="utf-8").write(text)


def check_direction(path, folder, number, name):
    target = name.split("/")
    here = folder.split("/")
    if target[0] == "common" and here[0] == "common" and len(here) > 1 and len(target) > 2:
        if target[1] in COMMON_ORDER and COMMON_ORDER.index(target[1]) > COMMON_ORDER.index(here[1]):
            breach("direction", path, number, f"common/{here[1]} may not include common/{target[1]}")
    if here[0] == "common" and target[0] in LAYERS + ["bench"]:
        breach("direction", path, number, f"common may not include {target[0]}")
    if here[0] in LAYERS and target[0] in LAYERS + ["bench"] and target[0] != here[0]:
        breach("direction", path, number, f"{here[0]} and {target[0]} meet only in protocols and common/")


def check_lines(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LINE_MAX:
            breach("line", path, number, f"{len(line)} characters, at most {LINE_MAX}")
        if PROMISES.search(line) and not path.startswith("tests/tidy/"):
            breach("promise", path, number, "say it elsewhere or do it")
        if FOREIGN_WORDS.search(line) and not path.startswith("tests/tidy/"):
            breach("words", path, number, "the text speaks of the project alone")
        if line != line.rstrip() and not path.endswith((".csv", ".bin")):
            breach("space", path, number, "space at the end of the line")


def check_calls(path, code):
    for number, line in enumerate(code.split("\n"), 1):
        for name, instead in BANNED.items():
            if name in ("malloc", "calloc", "realloc", "free") and path.startswith(ALLOCATOR_FOLDERS):
                continue
            if name == "fork" and path.startswith("tests/"):
                continue
            if re.search(rf"(?<![\w.>]){name}\s*\(", line):
                breach("banned", path, number, f"{name}: use {instead}")


def functions(code):
    """Yields (name, first line, last line) of every function definition."""
    lines = code.split("\n")
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{" and start is None:
            start = number
        elif line == "}" and start is not None:
            head = number_head = start - 1
            while head > 1 and not re.match(r"^[A-Za-z_].*\(", lines[head - 1]):
                head -= 1
            name = re.search(r"(\w+)\s*\(", lines[head - 1])
            if name and "struct" not in lines[number_head - 1].split("(")[0][:7]:
                yield name.group(1), start, number
            start = None


def check_functions(path, code):
    for name, first, last in functions(code):
        length = last - first - 1
        if length > FUNCTION_MAX:
            breach("function", path, first, f"{name} has {length} lines, at most {FUNCTION_MAX}")


def prototypes(text):
    """Yields (line number, statement, documented) of every function prototype of a header."""
    lines = text.split("\n")
    number = 0
    commented = False
    in_comment = False
    depth = 0
    while number < len(lines):
        line = lines[number]
        stripped = line.strip()
        if in_comment or stripped.startswith("/*"):
            in_comment = "*/" not in stripped
            commented = True
        elif stripped == "":
            commented = False
        elif depth == 0 and re.match(r"^[A-Za-z_]", line) and "(" in line and not line.startswith(("typedef", "#")) \
                and not re.match(r"^(static inline|struct \w+ \{|enum|union|extern|_Static_assert)", line):
            statement = line
            first = number
            while ";" not in lines[number] and "{" not in lines[number] and number + 1 < len(lines):
                number += 1
                statement += " " + lines[number].strip()
            if statement.rstrip().endswith(";"):
                yield first + 1, statement, commented
        clean = re.sub(r"/\*.*?\*/", "", lines[number])
        depth += clean.count("{") - clean.count("}")
        if stripped.startswith(('extern "C"', "#")):
            depth = 0
        number += 1


def check_header(path, text, totals):
    guard = "ANABRANCH_" + re.sub(r"[^A-Za-z0-9]", "_", path).upper()
    if f"#ifndef {guard}\n#define {guard}\n" not in text:
        breach("guard", path, 1, f"guard {guard} is missing")
    if text.count("\n") > HEADER_MAX:
        breach("header", path, 1, f"{text.count(chr(10))} lines, at most {HEADER_MAX}")
    for number, statement, documented in prototypes(text):
        group = "client" if path.startswith("common/client/anabranch") else "internal"
        totals[group][0] += 1
        totals[group][1] += documented
        if not documented:
            totals[group][2].append(f"{path}:{number}")
        if re.match(r"^ab_err\s+\w+\(", statement):
            if not re.match(r"^ab_err ab_error_(set|wrap)_at|^ab_err ab_err_from", statement) \
                    and "AB_MUST_USE" not in statement:
                breach("must-use", path, number, statement.split("(")[0] + " lacks AB_MUST_USE")


def check_documentation(totals):
    for group, least in (("client", 1.0), ("internal", 0.9)):
        count, documented, missing = totals[group]
        if count and documented < least * count:
            breach("documentation", missing[0].split(":")[0], int(missing[0].split(":")[1]),
                   f"{documented} of {count} {group} prototypes are documented, at least {least:.0%}: {missing[:5]}")


def check_folders(root, files):
    folders = {os.path.dirname(f) for f in files if f.endswith((".c", ".h")) and not f.startswith("tests/")}
    for folder in sorted(folders):
        path = os.path.join(folder, "README.md")
        if not os.path.isfile(os.path.join(root, path)):
            breach("readme", folder, 1, "the folder has no README.md")
            continue
        check_readme(root, folder, path, files)


def check_readme(root, folder, path, files):
    content = open(os.path.join(root, path), encoding="utf-8").read()
    for heading in README_HEADINGS:
        if heading not in content:
            breach("readme", path, 1, f"heading \"{heading}\" is missing")
    if not content.startswith(f"# {folder}\n"):
        breach("readme", path, 1, f"the title is not \"# {folder}\"")
    for number, line in enumerate(content.split("\n"), 1):
        for name in re.findall(r"`([\w./-]+\.(?:c|h|y|l|proto))`", line):
            if not any(f == name or f.endswith("/" + name) for f in files) and not is_public(name):
                breach("readme", path, number, f"{name} does not exist")


def is_public(name):
    """Headers of libraries, which a README may speak of."""
    return any(name.startswith(h) if h.endswith("/") else name == h for h in OWNERS)


def check_cmake(path, text):
    lines = text.count("\n")
    if os.path.dirname(path) and lines > CMAKE_MAX:
        breach("cmake", path, 1, f"{lines} lines, at most {CMAKE_MAX}")
    if re.search(r"\bfile\s*\(\s*GLOB", text):
        breach("cmake", path, 1, "sources are listed, not globbed")
    if re.search(r"\badd_(definitions|compile_options)\s*\(", text) and os.path.dirname(path):
        breach("cmake", path, 1, "options belong to targets")


def check_headers_alone(root, files):
    headers = [f for f in files if f.endswith(".h") and not f.startswith("tests/")]

    def compile_one(header):
        command = ["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", "-Wall", "-Werror", "-I", root]
        command += ["-x", "c", "-"]
        run = subprocess.run(command, input=f'#include "{header}"\n', capture_output=True, text=True)
        return header, run.returncode, run.stderr

    with ThreadPoolExecutor(2) as pool:
        for header, status, text in pool.map(compile_one, headers):
            if status != 0 and ".pb-c.h" not in text and "mpi.h" not in text:
                breach("alone", header, 1, "does not compile alone: " + text.split("\n")[0])


def apply_exceptions(root):
    path = os.path.join(root, "tests/tidy/exceptions.txt")
    allowed = {}
    if os.path.isfile(path):
        for line in open(path, encoding="utf-8"):
            if line.strip() and not line.startswith("#"):
                rule, file, *detail = line.split()
                allowed[(rule, file, detail[0] if detail else "")] = False
    kept = []
    for rule, file, line, text in breaches:
        key = next((k for k in allowed if k[0] == rule and k[1] == file and (not k[2] or k[2] in text)), None)
        if key is None:
            kept.append((rule, file, line, text))
        else:
            allowed[key] = True
    for (rule, file, detail), used in allowed.items():
        if not used:
            kept.append(("exception", "tests/tidy/exceptions.txt", 1, f"{rule} {file} {detail} is not needed any more"))
    return kept


def main():
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    if "--sort-includes" in sys.argv:
        for path in arguments:
            sort_includes(os.path.normpath(path))
        return 0
    root = os.path.abspath(arguments[0] if arguments else os.path.join(os.path.dirname(__file__), "../.."))
    files = source_files(root)
    totals = {"client": [0, 0, []], "internal": [0, 0, []]}
    for path in files:
        if not path.endswith((".c", ".h", ".y", ".l", ".py", ".sh", ".md", ".proto", ".cmake", "CMakeLists.txt")):
            continue
        text = open(os.path.join(root, path), encoding="utf-8").read()
        if not path.endswith(".md"):
            check_lines(path, text)
        elif PROMISES.search(text) or FOREIGN_WORDS.search(text):
            breach("words", path, 1, "the text speaks of the project alone, and promises nothing")
        if path.endswith("CMakeLists.txt"):
            check_cmake(path, text)
        if path.endswith((".c", ".h")):
            code = strip_comments_and_strings(text)
            check_includes(path, text)
            check_calls(path, code)
            if text.count("\n") > FILE_MAX:
                breach("file", path, 1, f"{text.count(chr(10))} lines, at most {FILE_MAX}")
            if not path.startswith("tests/"):
                check_include_order(path, text)
            if path.endswith(".c") and not path.startswith("tests/"):
                check_functions(path, code)
            if path.endswith(".h") and not path.startswith("tests/"):
                check_header(path, text, totals)
    check_documentation(totals)
    check_folders(root, files)
    if "--headers" in sys.argv:
        check_headers_alone(root, files)
    kept = apply_exceptions(root)
    for rule, path, line, text in sorted(kept):
        print(f"{path}:{line}: [{rule}] {text}")
    internal, public = totals["internal"], totals["client"]
    print(f"tidy: {len(files)} files, {len(kept)} breaches, prototypes documented: "
          f"{internal[1]} of {internal[0]} internal, {public[1]} of {public[0]} public")
    return 1 if kept else 0


if __name__ == "__main__":
    sys.exit(main())
