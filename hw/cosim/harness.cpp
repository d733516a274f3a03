// Drives the two AXI4-Streams of a Verilated chip at full speed, told what to do by messages on standard input.
//
// A beat is BEAT_BYTES + 1 bytes: flags (bit 0: tlast), then the data, little endian. Numbers are little endian.
// Messages in:
//   'B' u32 n, n beats      queue beats for s_axis; the clock does not run
//   'R' u32 n, u64 most     run until n frames have come out of m_axis (n = 0: until all beats are accepted)
//   'W' u64 n               run n cycles
//   'C'                     how many cycles have run since reset?
//   'S' u64 seed, u8, u8    from now on offer no beat, accept no beat, in so many of 256 cycles, at random
//   'T' u8                  monitors print from now on (1), or not (0)
//   'V' u8                  waves are written from now on (1), or not (0); a build with --trace, the plusarg +waves=file
//   'Q'                     end; so does the end of the input
// Messages out, one for each 'R', 'W' and 'C', in order:
//   'B' u32 n, n beats      what came out of m_axis and was not reported before
//   'C' u64                 cycles
//   'E' u32 n, n bytes      an 'R' that took more than `most` cycles: a sentence
// What the Verilog prints goes to the file of the plusarg +print_to=, or to standard error.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "Vmodel.h"
#include "verilated.h"
#include "verilated_sym_props.h"
#include "verilated_syms.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

constexpr size_t kRecord = BEAT_BYTES + 1;
constexpr int kResetCycles = 4;
constexpr size_t kReadBytes = 1 << 20;

// Standard input in blocks, as bytes and numbers.
class Input {
public:
    // Fills `to` with `size` bytes; false at the end of the input.
    bool read(void* to, size_t size) {
        auto* place = static_cast<uint8_t*>(to);
        while (size) {
            if (m_head == m_tail && !fill()) return false;
            const size_t part = std::min(size, m_tail - m_head);
            std::memcpy(place, m_buffer.data() + m_head, part);
            m_head += part;
            place += part;
            size -= part;
        }
        return true;
    }
    template <typename T>
    bool read(T& value) {
        return read(&value, sizeof value);
    }

private:
    bool fill() {
        ssize_t got;
        do got = ::read(0, m_buffer.data(), m_buffer.size());
        while (got < 0 && errno == EINTR);
        if (got <= 0) return false;
        m_head = 0;
        m_tail = static_cast<size_t>(got);
        return true;
    }
    std::vector<uint8_t> m_buffer = std::vector<uint8_t>(kReadBytes);
    size_t m_head = 0;
    size_t m_tail = 0;
};

// A stall in `rate` of 256 cycles (xorshift64).
class Stalls {
public:
    void seed(uint64_t seed) { m_state = seed * 2 + 1; }
    bool draw(uint8_t rate) {
        m_state ^= m_state << 13;
        m_state ^= m_state >> 7;
        m_state ^= m_state << 17;
        return ((m_state >> 32) & 0xff) < rate;
    }

private:
    uint64_t m_state = 1;
};

// What follows the name of a plusarg; empty if it is not given.
std::string plusarg(VerilatedContext& context, const char* name) {
    const std::string found = context.commandArgsPlusMatch(name);
    return found.empty() ? found : found.substr(found.find('=') + 1);
}

class Bench {
public:
    Bench(VerilatedContext& context, int protocol)
        : m_context{context}, m_chip{&context}, m_protocol{protocol} {
#if VM_TRACE
        context.traceEverOn(true);
        m_chip.trace(&m_waves, 99);
        m_waves.open(plusarg(context, "waves=").c_str());
#endif
        m_chip.rst = 1;
        for (int i = 0; i < kResetCycles; ++i) clock();
        m_chip.rst = 0;
    }

    // Serves messages until the input ends.
    void serve() {
        for (uint8_t kind; m_input.read(kind);) {
            bool ok = true;
            switch (kind) {
            case 'B': ok = queue(); break;
            case 'R': ok = run(); break;
            case 'W': ok = wait(); break;
            case 'C': answer_cycles(); break;
            case 'S': ok = stall(); break;
            case 'T': ok = trace(); break;
            case 'V': ok = waves(); break;
            case 'Q': return;
            default: std::fprintf(stderr, "unknown message %d\n", kind); std::exit(2);
            }
            if (!ok) return;
        }
    }

private:
    void clock() {
        m_chip.clk = 0;
        m_chip.eval();
        m_chip.clk = 1;
        m_chip.eval();
    }

    // One cycle: offers the next beat, takes one. Inputs change after the rising edge, as registers do.
    void cycle() {
        const bool waits = m_offered;  // an offered beat stays until it is accepted
        m_offered = m_next < m_beats.size() && (waits || !m_in_rate || !m_stalls.draw(m_in_rate));
        const bool takes = !m_out_rate || !m_stalls.draw(m_out_rate);
        m_chip.s_axis_tvalid = m_offered;
        if (m_offered && !waits) {
            const uint8_t* beat = m_beats.data() + m_next;
            m_chip.s_axis_tlast = beat[0] & 1;
            std::memcpy(&m_chip.s_axis_tdata, beat + 1, BEAT_BYTES);
        }
        m_chip.m_axis_tready = takes;
        m_chip.clk = 0;
        m_chip.eval();
        dump(2 * m_cycles);
        if (m_offered && m_chip.s_axis_tready) {
            m_next += kRecord;
            m_offered = false;
        }
        if (takes && m_chip.m_axis_tvalid) {
            const size_t place = m_out.size();
            m_out.resize(place + kRecord);
            m_out[place] = m_chip.m_axis_tlast;
            std::memcpy(m_out.data() + place + 1, &m_chip.m_axis_tdata, BEAT_BYTES);
            m_frames += m_chip.m_axis_tlast;
        }
        m_chip.clk = 1;
        m_chip.eval();
        dump(2 * m_cycles + 1);
        ++m_cycles;
    }

    bool queue() {
        uint32_t count;
        if (!m_input.read(count)) return false;
        m_beats.erase(m_beats.begin(), m_beats.begin() + static_cast<ptrdiff_t>(m_next));
        m_next = 0;
        const size_t place = m_beats.size();
        m_beats.resize(place + count * kRecord);
        return m_input.read(m_beats.data() + place, count * kRecord);
    }

    bool run() {
        uint32_t frames;
        uint64_t most;
        if (!m_input.read(frames) || !m_input.read(most)) return false;
        m_frames = 0;
        const uint64_t last = m_cycles + most;
        while (frames ? m_frames < frames : m_next < m_beats.size()) {
            if (m_cycles >= last) {
                answer_error(most);
                return true;
            }
            cycle();
        }
        answer_beats();
        return true;
    }

    bool wait() {
        uint64_t cycles;
        if (!m_input.read(cycles)) return false;
        while (cycles--) cycle();
        answer_beats();
        return true;
    }

    bool stall() {
        uint64_t seed;
        if (!m_input.read(seed) || !m_input.read(m_in_rate) || !m_input.read(m_out_rate)) return false;
        m_stalls.seed(seed);
        return true;
    }

    bool trace() {
        uint8_t enabled;
        if (!m_input.read(enabled)) return false;
        const VerilatedScopeNameMap* scopes = m_context.scopeNameMap();
        if (!scopes) return true;
        for (const auto& [name, scope] : *scopes) {
            if (VerilatedVar* var = scope->varFind("monitor_enabled"))
                *static_cast<CData*>(var->datap()) = enabled;
        }
        return true;
    }

    bool waves() {
        uint8_t enabled;
        if (!m_input.read(enabled)) return false;
        m_dumps = enabled;
        return true;
    }

    void dump(uint64_t time) {
#if VM_TRACE
        if (m_dumps) m_waves.dump(time);
#endif
    }

    void answer_beats() {
        const auto count = static_cast<uint32_t>(m_out.size() / kRecord);
        write("B", 1);
        write(&count, sizeof count);
        write(m_out.data(), m_out.size());
        m_out.clear();
    }

    void answer_cycles() {
        write("C", 1);
        write(&m_cycles, sizeof m_cycles);
    }

    void answer_error(uint64_t most) {
        const std::string text = "no answer within " + std::to_string(most) + " cycles; "
                                 + std::to_string((m_beats.size() - m_next) / kRecord)
                                 + " beats wait at the input, "
                                 + std::to_string(m_out.size() / kRecord)
                                 + " of an unfinished frame came out";
        const auto size = static_cast<uint32_t>(text.size());
        write("E", 1);
        write(&size, sizeof size);
        write(text.data(), text.size());
    }

    void write(const void* data, size_t size) {
        auto* place = static_cast<const uint8_t*>(data);
        while (size) {
            const ssize_t done = ::write(m_protocol, place, size);
            if (done < 0 && errno == EINTR) continue;
            if (done < 0) std::exit(1);  // nobody listens any more
            place += done;
            size -= static_cast<size_t>(done);
        }
    }

    VerilatedContext& m_context;
    Vmodel m_chip;
    const int m_protocol;
    Input m_input;
    Stalls m_stalls;
    uint8_t m_in_rate = 0;
    uint8_t m_out_rate = 0;
    std::vector<uint8_t> m_beats;  // records not yet accepted, from m_next on
    size_t m_next = 0;
    bool m_offered = false;
    std::vector<uint8_t> m_out;
    uint32_t m_frames = 0;  // ends of frames in this run
    uint64_t m_cycles = 0;
    bool m_dumps = false;
#if VM_TRACE
    VerilatedVcdC m_waves;
#endif
};

// Keeps standard output for the protocol and gives what the Verilog prints another place.
int take_output(VerilatedContext& context) {
    const int protocol = dup(1);
    const std::string path = plusarg(context, "print_to=");
    int prints = 2;
    if (!path.empty()) {
        prints = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (prints < 0) {
            std::fprintf(stderr, "cannot write %s: %s\n", path.c_str(), std::strerror(errno));
            std::exit(2);
        }
    }
    dup2(prints, 1);
    return protocol;
}

}  // namespace

int main(int argc, char** argv) {
    // The one that models of blocks compiled apart see, too.
    VerilatedContext& context = *Verilated::defaultContextp();
    context.commandArgs(argc, argv);
    Bench bench{context, take_output(context)};
    bench.serve();
    std::fflush(stdout);
    return 0;
}
