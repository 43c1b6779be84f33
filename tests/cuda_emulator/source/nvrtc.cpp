// The stand-in of NVRTC: its "cubin" is a shared object that g++ makes of the CUDA C text behind a header that says what CUDA means.
//
// Objects are kept in the directory of this library, by text, options and version of the emulator: the same kernel is compiled once.
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <vector>

extern char **environ;

namespace {

struct Program {
  std::string text, name, log, object;
};

constexpr int SUCCESS = 0, INVALID_INPUT = 3, INVALID_PROGRAM = 4, COMPILATION = 6;
using Words = std::vector<std::string>;

// -fsanitize=thread announces each access, bounds each index, alignment each pointer that is used.
Words compiler(bool checked) {
  Words words{"g++", "-std=c++17", "-g1", "-fPIC", "-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables", "-fno-strict-aliasing", "-fwrapv", "-w",
              "-ffp-contract=off", "-fno-math-errno", "-fno-delete-null-pointer-checks", "-I" TOOLKIT_INCLUDE};
  const Words checks{"-O1", "-fsanitize=thread,bounds,alignment", "--param", "tsan-instrument-func-entry-exit=0"}, none{"-O2"};
  words.insert(words.end(), checked ? checks.begin() : none.begin(), checked ? checks.end() : none.end());
#if defined(__x86_64__)
  if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2")) words.insert(words.end(), {"-mfma", "-mavx2", "-mf16c"});
#endif
  return words;
}

std::string home() {
  Dl_info found;
  dladdr(reinterpret_cast<void *>(&home), &found);
  const std::string path = found.dli_fname;
  return path.substr(0, path.rfind('/'));
}

std::string read(const std::string &path) {
  std::ostringstream all;
  all << std::ifstream(path, std::ios::binary).rdbuf();
  return all.str();
}

bool run(const Words &words, const std::string &log) {
  std::vector<char *> arguments;
  for (const std::string &word : words) arguments.push_back(const_cast<char *>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 2, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  pid_t child;
  int status = 1;
  const bool started = !posix_spawnp(&child, arguments[0], &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  while (started && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return started && status == 0;
}

std::string fresh(const std::string &path) {  // a name beside it that no other process or thread uses
  static std::atomic<int> count;
  return path + "." + std::to_string(getpid()) + "." + std::to_string(count++);
}

bool precompile(const std::string &header, bool checked, const std::string &log) {
  static std::mutex lock;
  std::lock_guard<std::mutex> held(lock);
  mkdir((header + ".gch").c_str(), 0700);  // of the files in it the compiler takes the one for its options
  const std::string made = header + ".gch/" + (checked ? "checked" : "unchecked"), work = fresh(header);
  if (!access(made.c_str(), R_OK)) return true;
  Words words = compiler(checked);
  words.insert(words.end(), {"-x", "c++-header", header, "-o", work});
  return run(words, log) && !rename(work.c_str(), made.c_str());
}

std::string digest(const std::string &text) {
  uint64_t a = 0xcbf29ce484222325, b = 0x9e3779b97f4a7c15;
  for (unsigned char byte : text) {
    a = (a ^ byte) * 0x100000001b3;
    b = (b + byte) * 0xff51afd7ed558ccd;
    b ^= b >> 29;
  }
  char name[40];
  snprintf(name, sizeof name, "%016llx%016llx", (unsigned long long)a, (unsigned long long)b);
  return name;
}

struct Kernel {
  std::string name, most_threads;
};

// The kernels of a text: after __global__ the first name with a parenthesis that is not __launch_bounds__.
std::vector<Kernel> kernels(const std::string &text) {
  std::vector<Kernel> found;
  for (size_t at = text.find("__global__"); at != std::string::npos; at = text.find("__global__", at + 1)) {
    Kernel kernel{"", "0"};
    for (size_t i = at + 10; i < text.size() && kernel.name.empty(); ++i) {
      if (!isalpha(static_cast<unsigned char>(text[i])) && text[i] != '_') {
        if (text[i] == ';') break;
        continue;
      }
      size_t end = i;
      while (end < text.size() && (isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_')) ++end;
      const std::string word = text.substr(i, end - i);
      while (end < text.size() && isspace(static_cast<unsigned char>(text[end]))) ++end;
      i = end - 1;
      if (end >= text.size() || text[end] != '(') continue;
      if (word != "__launch_bounds__") {
        kernel.name = word;
        continue;
      }
      kernel.most_threads = text.substr(end + 1, text.find_first_of(",)", end) - end - 1);
      i = text.find(')', end);
    }
    if (!kernel.name.empty()) found.push_back(kernel);
  }
  return found;
}

std::string without_comments(std::string text) {
  for (size_t i = 0; i + 1 < text.size(); ++i) {
    if (text[i] != '/' || (text[i + 1] != '/' && text[i + 1] != '*')) continue;
    const bool line = text[i + 1] == '/';
    size_t end = text.find(line ? "\n" : "*/", i + 2);
    end = end == std::string::npos ? text.size() : end + (line ? 0 : 2);
    text.replace(i, end - i, " ");
  }
  return text;
}

// The object of a text with checks, or without: then everything in it has another name.
bool compile(const std::string &base, const std::string &work, bool checked, const std::vector<Kernel> &all, const std::string &architecture, const Words &definitions,
             const std::string &log) {
  const std::string header = home() + "/shim/cuda_on_host.hpp", suffix = checked ? "" : "_unchecked", name = work + suffix;
  std::ofstream main(name + ".cpp");
  main << "#define __CUDA_ARCH__ " << architecture << "0\n";
  if (checked)
    main << "#include \"" << base << ".cu\"\nextern \"C\" const char *const emulator_origin = \"" << base << "\";\n";
  else {
    for (const Kernel &kernel : all) main << "#define " << kernel.name << " " << kernel.name << suffix << "\n";
    main << "namespace device_unchecked {\n#include \"" << base << ".cu\"\n}\nusing namespace device_unchecked;\n";
    for (const Kernel &kernel : all) main << "#undef " << kernel.name << "\n";
  }
  for (const Kernel &kernel : all)
    main << "static constexpr emulator_kernel emulator_table_" << kernel.name << " = emulator_caller<&" << kernel.name << suffix << ">::table(\"" << kernel.name << "\", "
         << kernel.most_threads << ");\n";
  main << "extern \"C\" const emulator_kernel *const emulator" << suffix << "_kernels[] = {";
  for (const Kernel &kernel : all) main << "&emulator_table_" << kernel.name << ", ";
  main << "nullptr};\n";
  main.close();
  Words words = compiler(checked);
  words.insert(words.end(), definitions.begin(), definitions.end());
  words.insert(words.end(), {"-pipe", "-include", header, "-c", name + ".cpp", "-o", name + ".o"});
  const bool good = precompile(header, checked, log) && run(words, log);
  unlink((name + ".cpp").c_str());
  return good;
}

bool build(Program &program, const std::string &base, const std::string &architecture, const Words &definitions, bool unchecked_too) {
  const std::string work = fresh(base), log = work + ".log";
  std::ofstream(base + ".cu") << program.text;
  const std::vector<Kernel> all = kernels(without_comments(program.text));
  bool good = compile(base, work, true, all, architecture, definitions, log);
  if (unchecked_too) good = good && compile(base, work, false, all, architecture, definitions, log);
  Words words{LINKER, "-shared", "-z", "defs", "-Bsymbolic", "-o", work + ".so", work + ".o"};
  if (unchecked_too) words.push_back(work + "_unchecked.o");
  words.insert(words.end(), {home() + "/libcuda.so.1", "-L" LIBRARIES, LIBM, LIBC, LIBGCC});
  good = good && run(words, log);
  good = good && !rename((work + ".so").c_str(), (base + ".so").c_str());
  program.log = read(log);
  for (const char *end : {".o", "_unchecked.o", ".log"}) unlink((work + end).c_str());
  return good;
}

}  // namespace

extern "C" {

const char *nvrtcGetErrorString(int code) {
  static const char *const names[] = {"NVRTC_SUCCESS", "NVRTC_ERROR_OUT_OF_MEMORY", "NVRTC_ERROR_PROGRAM_CREATION_FAILURE", "NVRTC_ERROR_INVALID_INPUT",
                                      "NVRTC_ERROR_INVALID_PROGRAM", "NVRTC_ERROR_INVALID_OPTION", "NVRTC_ERROR_COMPILATION"};
  return code >= 0 && code < 7 ? names[code] : "NVRTC_ERROR unknown";
}

int nvrtcVersion(int *major, int *minor) {
  *major = 13, *minor = 0;
  return SUCCESS;
}

int nvrtcGetNumSupportedArchs(int *count) {
  *count = 2;
  return SUCCESS;
}

int nvrtcGetSupportedArchs(int *architectures) {
  architectures[0] = 80, architectures[1] = 90;
  return SUCCESS;
}

int nvrtcCreateProgram(Program **program, const char *text, const char *name, int headers, const char *const *, const char *const *) {
  if (!program || !text || headers) return INVALID_INPUT;
  *program = new Program{text, name ? name : "default_program", "", ""};
  return SUCCESS;
}

int nvrtcDestroyProgram(Program **program) {
  if (!program || !*program) return INVALID_PROGRAM;
  delete *program;
  *program = nullptr;
  return SUCCESS;
}

int nvrtcCompileProgram(Program *program, int count, const char *const *options) {
  if (!program) return INVALID_PROGRAM;
  std::string architecture = "75", key = BUILD_KEY;
  Words definitions;
  for (int i = 0; i < count; ++i) {
    const std::string option = options[i];
    const size_t number = option.find("_");
    if ((option.find("-arch") != std::string::npos || option.find("gpu-architecture") != std::string::npos) && number != std::string::npos)
      architecture = std::to_string(atoi(option.c_str() + number + 1));
    if (option.rfind("-D", 0) == 0) definitions.push_back(option);
    if (option == "--fmad=true" || option == "-fmad=true") definitions.push_back("-ffp-contract=fast");
    key += "\n" + option;
  }
  const bool unchecked_too = getenv("CUDA_EMULATOR_CHECKED");  // kernels run without checks after so many launches
  if (unchecked_too) key += "\nwithout checks too";
  const std::string folder = home() + "/objects";
  mkdir(folder.c_str(), 0700);
  const std::string base = folder + "/" + digest(key + "\n" + program->text);
  program->log.clear();
  if (access((base + ".so").c_str(), R_OK) && !build(*program, base, architecture, definitions, unchecked_too)) return COMPILATION;
  program->object = read(base + ".so");
  return program->object.empty() ? COMPILATION : SUCCESS;
}

int nvrtcGetProgramLogSize(Program *program, size_t *bytes) {
  *bytes = program->log.size() + 1;
  return SUCCESS;
}

int nvrtcGetProgramLog(Program *program, char *log) {
  memcpy(log, program->log.c_str(), program->log.size() + 1);
  return SUCCESS;
}

int nvrtcGetCUBINSize(Program *program, size_t *bytes) {
  *bytes = program->object.size();
  return program->object.empty() ? INVALID_PROGRAM : SUCCESS;
}

int nvrtcGetCUBIN(Program *program, char *object) {
  memcpy(object, program->object.data(), program->object.size());
  return SUCCESS;
}
}
