-- The quicksort of PUC Lua 5.1, whose order of equal elements scripts can see. The code is compiled
-- twice: a comparison in braces becomes a call of the script's order, or the operator.
local order, bad_order = ...

local function sort(t, first, last)
  while first < last do
    local low, high = t[first], t[last]
    if {high < low} then
      t[first], t[last] = high, low
    end
    if last - first == 1 then
      return
    end
    local sum = first + last
    local i = (sum - sum % 2) / 2
    local pivot = t[i]
    low = t[first]
    if {pivot < low} then
      t[i], t[first] = low, pivot
    else
      high = t[last]
      if {high < pivot} then
        t[i], t[last] = high, pivot
      end
    end
    if last - first == 2 then
      return
    end
    pivot = t[i]
    t[i], t[last - 1] = t[last - 1], pivot
    local j = last - 1
    i = first
    while true do
      i = i + 1
      local left = t[i]
      while {left < pivot} do
        if i > last then
          return bad_order()
        end
        i = i + 1
        left = t[i]
      end
      j = j - 1
      local right = t[j]
      while {pivot < right} do
        if j < first then
          return bad_order()
        end
        j = j - 1
        right = t[j]
      end
      if j < i then
        break
      end
      t[i], t[j] = right, left
    end
    t[last - 1], t[i] = t[i], t[last - 1]
    -- The smaller part first, by recursion; the loop takes the larger one.
    if i - first < last - i then
      sort(t, first, i - 1)
      first = i + 1
    else
      sort(t, i + 1, last)
      last = i - 1
    end
  end
end

return sort
