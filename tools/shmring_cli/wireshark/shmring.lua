-- Fields of the packets that `shmring tap` copied: what their comments say, for filters, columns,
-- colours and statistics of Wireshark and tshark. `shmring tap --dissector` prints the path of this
-- file. `shmring help tap` says how to use it.

local shmring = Proto("shmring", "shmring tap")

local numbers = {
    { "seq", "Sequence number" },
    { "late_ns", "Late: from the deadline to the send call (ns)" },
    { "wire_late_ns", "Late on the wire: from the deadline to the timestamp (ns)" },
    { "due_ns", "Deadline (ns)" },
    { "enqueued_ns", "Queued by the producer (ns)" },
    { "woken_ns", "Worker woke (ns)" },
    { "sent_ns", "Start of the send call (ns)" },
    { "handed_ns", "End of the send call (ns)" },
    { "wire_ns", "Transmit timestamp (ns)" },
    { "arrived_ns", "Arrival (ns)" },
    { "batch", "Packets in the same call" },
    { "errno", "errno of the send call" },
}
local texts = {
    { "verdict", "Verdict" },
    { "stamp", "Timestamp taken by" },
    { "mark", "Mark" },
    { "trigger", "Trigger" },
}
local flags = {
    { "late", "The verdict means late" },
    { "shared_stamp", "One timestamp for several packets" },
    { "truncated", "Truncated" },
    { "filtered", "Not from the remote of the channel" },
}
local late_verdicts = {
    enqueued_late = true,
    woke_late = true,
    send_slow = true,
    queued_behind = true,
    dropped_late = true,
    producer_halted = true,
}

local fields = {}
local kind_of = {}
for kind, rows in pairs({ int64 = numbers, string = texts, bool = flags }) do
    for _, row in ipairs(rows) do
        fields[row[1]] = ProtoField[kind]("shmring." .. row[1], row[2])
        kind_of[row[1]] = kind
    end
end
shmring.fields = fields

local comments = Field.new("frame.comment")

local function add(tree, name, value)
    local kind = kind_of[name]
    if kind == "int64" and value:match("^%-?%d+$") then
        tree:add(fields[name], Int64.new(value))
    elseif kind == "string" then
        tree:add(fields[name], value)
    end
end

local function add_words(tree, text, info)
    for word in text:gmatch("%S+") do
        local name, value = word:match("^([%w_]+)=(%S+)$")
        if name then
            add(tree, name, value)
        elseif kind_of[word] == "bool" then
            tree:add(fields[word], true)
        end
        if name == "verdict" then
            tree:add(fields.late, late_verdicts[value] or false)
            tree:append_text(", " .. value)
            info:append(" [" .. value .. "]")
        end
    end
end

function shmring.dissector(_, packet, root)
    local found = { comments() }
    if #found == 0 then
        return
    end
    local tree = root:add(shmring, "shmring tap")
    for _, comment in ipairs(found) do
        local text = tostring(comment.value)
        local name, rest = text:match("^(%l+): (.*)$")
        if name == "mark" or name == "trigger" then
            add(tree, name, rest)
        else
            add_words(tree, text, packet.cols.info)
        end
    end
end

register_postdissector(shmring)
