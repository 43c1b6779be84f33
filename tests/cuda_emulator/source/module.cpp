// Objects that the stand-in of NVRTC has built: loaded, with their kernels, their shared and other variables, and lines of their text.
//
// In: the bytes of a shared object. Where a variable begins and ends is read from its table of symbols: a static variable of a kernel,
// _ZZ7lg_nameE4tile, is shared memory; one that stands outside is global memory of the module.
#include "emulator.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace emulator {

uint64_t checked_launches = ~0ull;

namespace {

std::vector<Module *> modules;

// The words of _ZZ7lg_nameE4tile, and of _ZZ4halfPfE4tile for a device function: "lg_name", "tile".
bool shared_name(const char *symbol, std::string &kernel, std::string &variable) {
  if (strncmp(symbol, "_ZZ", 3)) return false;
  const char *at = symbol + 3 + (symbol[3] == 'N') + (symbol[3] == 'L');
  char *next;
  size_t length = strtoul(at, &next, 10);
  if (!length || strlen(next) < length) return false;
  kernel.assign(next, length);
  for (const char *end = strchr(next + length, 'E'); end; end = strchr(end + 1, 'E')) {
    length = strtoul(end + 1, &next, 10);
    if (length && strlen(next) >= length) {
      variable.assign(next, length);
      return true;
    }
  }
  return false;
}

uint64_t image_bytes(const Elf64_Ehdr &header) { return header.e_shoff + uint64_t(header.e_shnum) * header.e_shentsize; }

void read_symbols(Module &module, const unsigned char *image) {
  const auto &header = *reinterpret_cast<const Elf64_Ehdr *>(image);
  const auto *sections = reinterpret_cast<const Elf64_Shdr *>(image + header.e_shoff);
  for (int i = 0; i < header.e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto *symbols = reinterpret_cast<const Elf64_Sym *>(image + sections[i].sh_offset);
    const char *names = reinterpret_cast<const char *>(image + sections[sections[i].sh_link].sh_offset);
    for (uint64_t s = 0; s < sections[i].sh_size / sizeof(Elf64_Sym); ++s) {
      const Elf64_Sym &symbol = symbols[s];
      if (ELF64_ST_TYPE(symbol.st_info) != STT_OBJECT || !symbol.st_size || symbol.st_shndx >= header.e_shnum) continue;
      const char *name = names + symbol.st_name;
      if (!(sections[symbol.st_shndx].sh_flags & SHF_WRITE) || !strncmp(name, "emulator_", 9)) continue;
      if (!strncmp(sections[symbol.st_shndx].sh_name + reinterpret_cast<const char *>(image + sections[header.e_shstrndx].sh_offset), ".data.rel.ro", 12)) continue;
      Variable variable;
      variable.begin = module.bias + symbol.st_value, variable.end = variable.begin + symbol.st_size;
      variable.shared = shared_name(name, variable.kernel, variable.name);
      if (!variable.shared) variable.name = name;
      constexpr const char *UNCHECKED = "_unchecked";  // as the stand-in of NVRTC calls the second text's
      if (const size_t at = variable.kernel.rfind(UNCHECKED); at != std::string::npos && at + strlen(UNCHECKED) == variable.kernel.size()) {
        variable.kernel.resize(at);
        variable.checked = false;
      }
      variable.shadow.resize((symbol.st_size + 7) / 4);
      module.variables.push_back(std::move(variable));
    }
  }
  const auto *segments = reinterpret_cast<const Elf64_Phdr *>(image + header.e_phoff);
  for (int i = 0; i < header.e_phnum; ++i)
    if (segments[i].p_type == PT_LOAD) module.end = std::max(module.end, module.bias + segments[i].p_vaddr + segments[i].p_memsz);
  module.begin = module.bias;
}

}  // namespace

Module *load_module(const void *image, std::string &why) {
  const auto *bytes = static_cast<const unsigned char *>(image);
  const auto &header = *reinterpret_cast<const Elf64_Ehdr *>(image);
  if (memcmp(bytes, ELFMAG, SELFMAG) || header.e_machine == EM_CUDA || header.e_type != ET_DYN) {
    why = "this is no object of the emulator's NVRTC";
    return nullptr;
  }
  // the loader knows libraries by their names: each has one of its own, in the directory of this library, for as long as it takes
  Dl_info own;
  dladdr(reinterpret_cast<void *>(&load_module), &own);
  std::string path = own.dli_fname;
  path = path.substr(0, path.rfind('/')) + "/module.XXXXXX";
  const int file = mkstemp(path.data());
  for (uint64_t done = 0, all = image_bytes(header); done < all;) {
    const ssize_t count = write(file, bytes + done, all - done);
    if (count <= 0) {
      why = "the module cannot be written to " + path;
      return nullptr;
    }
    done += count;
  }
  close(file);
  auto *module = new Module;
  module->handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module->handle) why = dlerror();
  unlink(path.c_str());
  link_map *map = nullptr;
  if (!module->handle || dlinfo(module->handle, RTLD_DI_LINKMAP, &map)) {
    delete module;
    return nullptr;
  }
  module->bias = map->l_addr;
  read_symbols(*module, bytes);
  const auto *tables = static_cast<const KernelTable *const *>(dlsym(module->handle, "emulator_kernels"));
  const auto *others = static_cast<const KernelTable *const *>(dlsym(module->handle, "emulator_unchecked_kernels"));
  for (int i = 0; tables && tables[i]; ++i) {
    Function &function = module->functions[tables[i]->name];
    function.module = module, function.table = tables[i], function.unchecked = others ? others[i] : nullptr;
  }
  for (auto &[name, function] : module->functions)  // a device function's shared memory is every kernel's
    for (Variable &variable : module->variables)
      if (variable.shared && (variable.kernel == name || !module->functions.count(variable.kernel))) {
        function.shared[variable.checked].push_back(&variable);
        if (variable.checked) function.shared_bytes += variable.end - variable.begin;
      }
  modules.push_back(module);
  return module;
}

void unload_module(Module *module) {
  modules.erase(std::remove(modules.begin(), modules.end(), module), modules.end());
  dlclose(module->handle);
  delete module;
}

Variable *variable_of(uint64_t address) {
  for (Module *module : modules) {
    if (address - module->begin >= module->end - module->begin) continue;
    Variable *nearest = nullptr;  // the one that it lies in, or else the last one before it, if it is near
    for (Variable &variable : module->variables)
      if (address >= variable.begin && address < variable.end + 64 && (!nearest || variable.begin > nearest->begin)) nearest = &variable;
    return nearest;
  }
  return nullptr;
}

std::string source_line(const Module &module, uint64_t code) {
  if (code - module.begin >= module.end - module.begin) return "";
  const auto *origin = static_cast<const char *const *>(dlsym(module.handle, "emulator_origin"));
  if (!origin) return "";
  const std::string command = text("addr2line -e '%s.so' 0x%llx 2>/dev/null", *origin, (unsigned long long)(code - module.bias));
  FILE *asked = popen(command.c_str(), "r");
  char answer[1024] = "";
  if (!asked || !fgets(answer, sizeof answer, asked)) answer[0] = 0;
  if (asked) pclose(asked);
  const char *colon = strrchr(answer, ':');
  const int number = colon ? atoi(colon + 1) : 0;
  FILE *file = number ? fopen((std::string(*origin) + ".cu").c_str(), "r") : nullptr;
  if (!file) return "";
  std::string line;
  for (int i = 0; i < number && fgets(answer, sizeof answer, file); ++i) line = answer;
  fclose(file);
  line.erase(0, line.find_first_not_of(" \t"));
  line.erase(line.find_last_not_of(" \n;") + 1);
  return text(", in line %d: %s", number, line.c_str());
}

}  // namespace emulator
